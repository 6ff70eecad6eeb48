package simulate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/turn"
)

// Policy is who goes next.
type Policy string

// The policies.
const (
	Fair       Policy = "fair" // fairlane's
	FCFS       Policy = "fcfs"
	Strict     Policy = "strict"
	RoundRobin Policy = "rr"
	WFQ        Policy = "wfq"
	VTC        Policy = "vtc"
)

// Policies are all that there are.
func Policies() []Policy { return []Policy{Fair, FCFS, Strict, RoundRobin, WFQ, VTC} }

// ErrPolicy is what a policy that there is not is refused with.
var ErrPolicy = errors.New("no such policy")

// ParsePolicy finds one by name.
func ParsePolicy(name string) (Policy, error) {
	if p := Policy(name); slices.Contains(Policies(), p) {
		return p, nil
	}
	return "", fmt.Errorf("%w: %q; there are %v", ErrPolicy, name, Policies())
}

// parks reports whether the queue of a policy knows no users: who may not have more in
// flight then keeps the rest back until some of it has ended.
func (p Policy) parks() bool { return p == FCFS || p == Strict || p == RoundRobin }

// everybody is the user of a line that has none.
const everybody = "everybody"

// manner is how the queue is to work for a policy.
func (p Policy) manner(t *turn.Policy) turn.Manner {
	line := fairqueue.User{Key: everybody}
	each := func(fairqueue.Cost) fairqueue.Cost { return fairqueue.Token }
	one := func(fairqueue.Weights, fairqueue.Input) fairqueue.Cost { return fairqueue.Token }
	switch p {
	case FCFS:
		return turn.Manner{Place: func(*scheduler.Entry) ([]fairqueue.Step, fairqueue.User, int) { return nil, line, 0 }}
	case Strict:
		ranks := ranks(t)
		return turn.Manner{Place: func(e *scheduler.Entry) ([]fairqueue.Step, fairqueue.User, int) { return nil, line, ranks[e.Class] }}
	case RoundRobin:
		return turn.Manner{
			Place: func(e *scheduler.Entry) ([]fairqueue.Step, fairqueue.User, int) {
				return []fairqueue.Step{{Key: e.Class, Weight: 1}}, fairqueue.User{Key: e.Class}, 0
			},
			Reserve: one, Charge: each,
		}
	case WFQ:
		return turn.Manner{Reserve: one, Charge: each}
	case VTC:
		return turn.Manner{
			Place: func(e *scheduler.Entry) ([]fairqueue.Step, fairqueue.User, int) {
				w := t.Weight(e.Class) * e.UserWeight
				return []fairqueue.Step{{Key: e.User, Weight: w}}, fairqueue.User{Key: e.User, MaxRunning: e.MaxRunning}, 0
			},
			Reserve: func(w fairqueue.Weights, in fairqueue.Input) fairqueue.Cost {
				return fairqueue.Actual(w, in.Tokens, in.Cached, 0)
			},
		}
	default:
		return turn.Manner{}
	}
}

// ranks of the classes by weight, the heaviest 0.
func ranks(t *turn.Policy) map[string]int {
	var names []string
	for name := range t.Classes {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(t.Weight(b), t.Weight(a)), cmp.Compare(a, b)) })
	out := map[string]int{}
	for i, name := range names {
		out[name] = i
		if i > 0 && t.Weight(name) == t.Weight(names[i-1]) {
			out[name] = out[names[i-1]]
		}
	}
	return out
}
