package identity

import (
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
)

// seen is a set of the kinds of forwarded headers.
type seen uint8

const (
	sawIdentity seen = 1 << iota
	sawGroups
	sawTask
	sawMessage
)

// present says which kinds of forwarded headers r has. An empty one counts: the
// setting is there, it only has nothing to say this time.
func (i *Identifier) present(r *http.Request) seen {
	var s seen
	has := func(kind seen, header string) {
		if values := r.Header[header]; len(values) > 0 && !template(values[0]) {
			s |= kind
		}
	}
	h := &i.headers
	has(sawIdentity, h.User)
	has(sawIdentity, h.Email)
	has(sawGroups, h.Groups)
	has(sawGroups, h.GroupIDs)
	has(sawTask, h.Task)
	has(sawMessage, h.Message)
	return s
}

// flow counts what arrives by one way. Its name is a key's, an issuer's, or says
// that there is neither.
type flow struct {
	name     string
	requests atomic.Int64
	with     [4]atomic.Int64 // identity, groups, task, message
	missing  [4]atomic.Int64 // requests since the last that had it
	unread   atomic.Int64    // with forwarded headers that are not believed
	inVain   atomic.Int64    // the same, in a row
	unfilled atomic.Bool     // the last had {{USER_GROUPS}} as it stands
	told     sync.Map        // findings that were logged, by their problem
}

// arrived counts a request of a forwarder. It reports whether something has been
// missing for long enough now.
func (f *flow) arrived(known bool, s seen) (found bool) {
	f.requests.Add(1)
	if !known { // then the others say nothing about settings
		return f.missing[0].Add(1) == enough
	}
	s |= sawIdentity
	for k := range f.with {
		if s&(1<<k) != 0 {
			f.with[k].Add(1)
			f.missing[k].Store(0)
		} else if f.missing[k].Add(1) == enough {
			found = true
		}
	}
	return found
}

// ignored counts a request that is no forwarder's.
func (f *flow) ignored(s seen) (found bool) {
	f.requests.Add(1)
	if s == 0 {
		f.inVain.Store(0)
		return false
	}
	f.unread.Add(1)
	return f.inVain.Add(1) == enough
}

// arrived and ignored count, and log what is found for the first time.
func (i *Identifier) arrived(r *http.Request, f *flow, known bool) {
	if f.arrived(known, i.present(r)) {
		i.tell(r, f)
	}
}

func (i *Identifier) ignored(r *http.Request, f *flow) {
	if f.ignored(i.present(r)) {
		i.tell(r, f)
	}
}

func (i *Identifier) tell(r *http.Request, f *flow) {
	for _, finding := range i.findings(f) {
		if _, known := f.told.LoadOrStore(finding.Problem, true); !known {
			i.logger.LogAttrs(r.Context(), slog.LevelWarn, "a setting seems to be missing",
				slog.String("forwarder", finding.Forwarder), slog.String("problem", finding.Problem), slog.String("remedy", finding.Remedy))
		}
	}
}

// Traffic is what has arrived by one way since the start.
type Traffic struct {
	Forwarder                       string // key's id, issuer's name, `client-certificate`, `no key` or `open mode`
	Requests                        int64
	Identity, Groups, Task, Message int64 // requests that had them, believed
	Unread                          int64 // requests with forwarded headers that were not believed
}

// Finding is a setting that seems to be missing.
type Finding struct {
	Forwarder string
	Problem   string
	Remedy    string
}

func (f *flow) traffic() Traffic {
	return Traffic{
		Forwarder: f.name, Requests: f.requests.Load(), Unread: f.unread.Load(),
		Identity: f.with[0].Load(), Groups: f.with[1].Load(), Task: f.with[2].Load(), Message: f.with[3].Load(),
	}
}

// Traffic is what has arrived, by way; ways that nothing came by are left out.
func (i *Identifier) Traffic() []Traffic {
	var out []Traffic
	for _, f := range i.flows() {
		if t := f.traffic(); t.Requests > 0 {
			out = append(out, t)
		}
	}
	return out
}

func (i *Identifier) flows() []*flow {
	out := append([]*flow{}, i.keys.Load().flows...)
	for _, s := range i.issuers {
		out = append(out, &s.flow)
	}
	if i.sessions != nil {
		out = append(out, &i.sessions.flow)
	}
	return append(out, &i.certificate, &i.nobody, &i.trust)
}

// Findings are the settings that seem to be missing, judged by what arrived last:
// a finding goes away when what it misses arrives.
func (i *Identifier) Findings() []Finding {
	var out []Finding
	for _, s := range i.issuers {
		out = append(out, s.findings()...)
	}
	if s := i.sessions; s != nil && s.memo.trouble() != nil {
		out = append(out, Finding{sourceSessions, fmt.Sprintf("Open WebUI does not say whom tokens belong to: %v", s.memo.trouble()), "check identity.openwebui_sessions.url and the network on the way there"})
	}
	if d := i.groupsOf; d != nil && d.memo.trouble() != nil {
		out = append(out, Finding{sourceLDAP, fmt.Sprintf("groups cannot be looked up: %v", d.memo.trouble()), "check identity.ldap and the network on the way there"})
	}
	for _, f := range i.flows() {
		out = append(out, i.findings(f)...)
	}
	return out
}

func (s *issuer) findings() []Finding {
	var out []Finding
	if s.keys != nil {
		if state := s.keys.state.Load(); state.err != nil && state.nth > 0 {
			out = append(out, Finding{s.Name, fmt.Sprintf("its keys cannot be fetched: %v", state.err), "check identity.jwt jwks_url and the network on the way there"})
		}
	}
	const short = 32 // RFC 7518, 3.2: as long as the hash
	if s.keys == nil && len(s.Secret) < short {
		out = append(out, Finding{s.Name, "its secret is short enough to be guessed", "take one of 32 random bytes: openssl rand -hex 32"})
	}
	return out
}

// enough requests in a row without something are no coincidence.
const enough = 3

func (i *Identifier) findings(f *flow) []Finding {
	h := &i.cfg.Forwarded
	lacks := func(k int) bool { return f.missing[k].Load() >= enough }
	add := func(header, template string) string {
		return fmt.Sprintf(`add %s to the headers of the connection in Open WebUI: {"%s": "{{%s}}"}`, header, header, template)
	}
	var out []Finding
	report := func(problem, remedy string) { out = append(out, Finding{f.name, problem, remedy}) }
	switch {
	case f.inVain.Load() >= enough:
		report("Open WebUI's headers arrive without a forwarder's key, and so they are not believed",
			"give the connection in Open WebUI a key of its own, and that key `forwarder: true` in identity.api_keys.file")
	case f.requests.Load() == 0:
	case f.unfilled.Load():
		report("the groups arrive as {{…}}, which this Open WebUI does not fill in", "update Open WebUI to 0.11 or later")
	case lacks(0) && f == &i.trust && f.with[0].Load() == 0:
		report("no request carries an identity, so every address is one person",
			"if Open WebUI calls, set ENABLE_FORWARD_USER_INFO_HEADERS=true there")
	case lacks(0) && f != &i.trust:
		report("traffic carries no identity, so it is nobody's and never limited as one person",
			"set ENABLE_FORWARD_USER_INFO_HEADERS=true in Open WebUI")
	case f.with[0].Load() > 0:
		if lacks(1) {
			report("an identity arrives, but no groups", add(h.Groups, "USER_GROUPS"))
		}
		if lacks(2) {
			report("an identity arrives, but no task, so background tasks are told by their prompt", add(h.Task, "TASK"))
		}
		if lacks(3) {
			report("an identity arrives, but no message id, so nobody sees a place in the queue", add(h.Message, "MESSAGE_ID"))
		}
	}
	return out
}
