package simulate

import (
	"fmt"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
	"fairlane/scheduler/arrivals"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/turn"
)

// Setup is a configuration, as far as a simulator needs it.
type Setup struct {
	Name      string
	Pool      string
	Rules     *policy.Policy // who is what; nil: the workload says so
	Turn      turn.Policy
	Load      turn.Marks     // when limits that follow the load do; zero: the defaults
	MaxQueued map[string]int // by class, requests that may wait; 0: no bound
	Backends  capacity.Config
}

// SetupOf is what a workload says of itself.
func SetupOf(w *Workload) *Setup {
	s := &Setup{Turn: turn.Policy{Share: w.Share, Classes: map[string]turn.Class{}}}
	for name, c := range w.Classes {
		s.Turn.Classes[name] = turn.Class{Weight: c.Weight, Headroom: c.Headroom}
	}
	return s
}

// backends are those of the setup; if it has none, as many as the workload says.
func (s *Setup) backends(w *Workload) capacity.Config {
	cfg := s.Backends
	if len(cfg.Backends) == 0 {
		for i := range w.GPU.Backends {
			cfg.Backends = append(cfg.Backends, capacity.BackendConfig{URL: fmt.Sprintf("gpu%d", i+1), Slots: w.GPU.Slots})
		}
	}
	return cfg
}

// standing is what somebody is entitled to.
type standing struct {
	class, group string
	weight       float64
	maxRunning   int
	maxQueued    int
	maxWait      time.Duration
	priority     int

	id    *identity.Identity // with rules
	model string
}

// described is the standing of a user of a workload.
func (s *Setup) described(u *User, key string) standing {
	if s.Rules == nil {
		weight := u.Weight
		if weight <= 0 {
			weight = 1
		}
		return standing{class: u.Class, weight: weight, maxRunning: u.MaxRunning, group: first(u.Groups)}
	}
	id := &identity.Identity{
		UserKey: "user:" + key, ID: key, Name: key, Email: u.Email, Roles: u.Roles, Groups: u.Groups, KeyID: u.Key,
		AuthType: identity.AuthForwarded, Verified: true, Forwarder: true, Task: u.Task,
	}
	return s.decide(id, u.Endpoint, u.Model)
}

// recorded is the standing of who came. Without rules it is the one that it had.
func (s *Setup) recorded(a *arrivals.Arrival) standing {
	if s.Rules == nil {
		return standing{class: a.Class, group: first(a.Groups), weight: 1}
	}
	id := &identity.Identity{
		UserKey: a.User, ID: a.ID, Email: a.Email, Roles: a.Roles, Groups: a.Groups, KeyID: a.Key,
		AuthType: identity.AuthType(a.Auth), Verified: true, Forwarder: a.Auth == string(identity.AuthForwarded),
		Anonymous: a.Auth == string(identity.AuthAnonymous), IP: a.IP, Task: a.Task,
	}
	st := s.decide(id, a.Endpoint, a.Model)
	st.priority = a.Priority
	return st
}

func (s *Setup) decide(id *identity.Identity, endpoint, model string) standing {
	d, _ := s.Rules.Decide(id, &policy.Query{Endpoint: openai.Endpoint(orChat(endpoint)), Pool: s.Pool, Model: model, Sequences: 1})
	return standing{
		class: d.Class, group: first(id.Groups), weight: d.UserWeight, maxRunning: d.MaxRunning, maxQueued: d.MaxQueued,
		maxWait: d.MaxWait, id: id, model: model,
	}
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func orChat(endpoint string) string {
	if endpoint == "" {
		return "chat"
	}
	return endpoint
}
