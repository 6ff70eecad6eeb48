package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fairlane/loadtest/vllmsim"
	"fairlane/proxy/admin"
)

// patient is an installation as its doctor sees it.
type patient struct {
	ready  int
	status admin.Status
	token  string
}

func (p *patient) server(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(p.ready) })
	mux.HandleFunc("GET /api/v1/status", func(w http.ResponseWriter, r *http.Request) {
		if p.token != "" && r.Header.Get("Authorization") != "Bearer "+p.token {
			http.Error(w, "a token is needed", http.StatusUnauthorized)
			return
		}
		if err := json.NewEncoder(w).Encode(p.status); err != nil {
			t.Error(err)
		}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL
}

func healthy() *patient {
	return &patient{ready: http.StatusOK, status: admin.Status{
		Roles:    []string{"proxy"},
		NATS:     admin.NATS{Embedded: true, Up: true},
		Identity: admin.Identity{Traffic: []admin.Traffic{{Forwarder: "openwebui", Requests: 130, Identity: 120, Groups: 4, Task: 12, Message: 100}}},
		Pools:    []admin.Pool{{Name: "main", Backends: []admin.Backend{{URL: "http://gpu:8000", Up: true, Models: []string{"m"}, Slots: 8, Scraped: true, PrefixCache: true}}}},
	}}
}

// look examines and finds the finding about what, "" where there is none.
func look(t *testing.T, cfg Config) []Finding {
	t.Helper()
	return New(cfg).Look(t.Context())
}

func find(findings []Finding, part string) *Finding {
	for i, f := range findings {
		if strings.Contains(f.What+": "+f.Seen, part) {
			return &findings[i]
		}
	}
	return nil
}

func TestHealthyInstallation(t *testing.T) {
	url := healthy().server(t)
	for _, f := range look(t, Config{Edge: url, Admin: url, Redis: func(context.Context) error { return nil }}) {
		if f.Level != OK || f.Remedy != "" {
			t.Errorf("%+v", f)
		}
	}
}

func TestWhatIsWrongIsSaidWithItsRemedy(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*patient)
		seen   string
		level  Level
		remedy string
	}{
		"not ready":  {func(p *patient) { p.ready = http.StatusServiceUnavailable }, "/readyz answers 503", Bad, "log"},
		"no token":   {func(p *patient) { p.token = "secret" }, "answers 401", Bad, "--token"},
		"store down": {func(p *patient) { p.status.NATS = admin.NATS{Detail: "no route"} }, "external: no route", Bad, "nats.url"},
		"bad file":   {func(p *patient) { p.status.Config.Error = "x.yaml:3:1: policy" }, "x.yaml:3:1", Bad, "mend the file"},
		"open mode":  {func(p *patient) { p.status.Identity.OpenMode = true }, "open mode", Hint, "forwarder: true"},
		"a warning":  {func(p *patient) { p.status.Config.Warnings = []string{"redis.url: in memory only"} }, "configuration: redis.url: in memory only", Hint, ""},
		"no traffic": {func(p *patient) { p.status.Identity.Traffic = nil }, "callers: no traffic yet", Hint, "send a chat"},
		"what arrives": {
			func(*patient) {},
			"through openwebui: identity: 120 of 130 requests, groups: 4, task: 12, message id: 100", OK, "",
		},
		"no groups yet": {
			func(p *patient) {
				p.status.Identity.Traffic[0] = admin.Traffic{Forwarder: "owui", Requests: 2, Identity: 1, Message: 1}
			},
			"through owui: identity: 1 of 2 requests, groups: none yet, task: none yet, message id: 1", OK, "",
		},
		"nobody's": {
			func(p *patient) {
				p.status.Identity.Traffic[0] = admin.Traffic{Forwarder: "ci", Requests: 7, Unread: 2}
			},
			"through ci: requests: 7, none with a forwarded identity; forwarded headers of 2 are not believed", OK, "",
		},
		"no groups": {func(p *patient) {
			p.status.Identity.Findings = []admin.Finding{{Forwarder: "owui", Problem: "no groups", Remedy: "add them"}}
		}, "through owui: no groups", Hint, "add them"},
		"backend down": {func(p *patient) {
			p.status.Pools[0].Backends[0] = admin.Backend{URL: "http://gpu:8000", Detail: "refused"}
		}, "gpu:8000 of the pool main: refused", Bad, "start it"},
		"no metrics":      {func(p *patient) { p.status.Pools[0].Backends[0].Scraped = false }, "/metrics is missing", Hint, "slots"},
		"no prefix cache": {func(p *patient) { p.status.Pools[0].Backends[0].PrefixCache = false }, "prefix caching is off", Hint, "--enable-prefix-caching"},
		"suspect": {func(p *patient) {
			p.status.Pools[0].Suspects = []admin.Suspect{{RequestID: "r1", UserKey: "user:a", Model: "m", InputTokens: 9, At: time.Unix(0, 0)}}
		}, "two deaths", Bad, "vLLM's log"},
	} {
		t.Run(name, func(t *testing.T) {
			p := healthy()
			c.change(p)
			url := p.server(t)
			f := find(look(t, Config{Edge: url, Admin: url}), c.seen)
			if f == nil || f.Level != c.level || !strings.Contains(f.Remedy, c.remedy) {
				t.Errorf("got %+v, want level %d and a remedy with %q", f, c.level, c.remedy)
			}
		})
	}
	other := healthy()
	other.status.Roles, other.status.Identity = []string{"worker"}, admin.Identity{}
	url := other.server(t)
	if f := find(look(t, Config{Edge: url, Admin: url}), "callers"); f != nil {
		t.Errorf("a process without an edge: %+v", f)
	}
	for err, level := range map[error]Level{nil: OK, errors.New("no answer"): Bad} {
		ask := func(context.Context) error { return err }
		for _, who := range []string{"LDAP: ", "sessions of Open WebUI: "} {
			if f := find(look(t, Config{Edge: url, Admin: url, LDAP: ask, Sessions: ask}), who); f == nil || f.Level != level {
				t.Errorf("%s%v: %+v", who, err, f)
			}
		}
	}
	findings := look(t, Config{Edge: "http://127.0.0.1:1", Admin: "http://127.0.0.1:1", Redis: func(context.Context) error { return errors.New("no Redis") }})
	if len(findings) != 3 || findings[0].Level != Bad || findings[1].Level != Bad || findings[2].Level != Bad {
		t.Errorf("nobody is there: %+v", findings)
	}
}

// TestBackendsAreAskedThemselves looks at emulated vLLMs with and without the
// flags that matter.
func TestBackendsAreAskedThemselves(t *testing.T) {
	for name, c := range map[string]struct {
		sim    vllmsim.Config
		key    string
		seen   string
		level  Level
		remedy string
	}{
		"all well":   {vllmsim.Config{Tools: true, PromptTokensDetails: true}, "", "it takes tools", OK, ""},
		"no tools":   {vllmsim.Config{PromptTokensDetails: true}, "", "it refuses tools", Bad, "--enable-auto-tool-choice"},
		"no details": {vllmsim.Config{Tools: true}, "", "cached", Hint, "--enable-prompt-tokens-details"},
		"a key":      {vllmsim.Config{APIKey: "k"}, "", "it wants a key", Bad, "api_key"},
		"right key":  {vllmsim.Config{APIKey: "k", Tools: true}, "k", "it takes tools", OK, ""},
		"pooling":    {vllmsim.Config{Pooling: true}, "", "does not chat", OK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			sim, err := vllmsim.New(c.sim)
			if err != nil {
				t.Fatal(err)
			}
			s := httptest.NewServer(sim.Handler())
			t.Cleanup(func() { s.Close(); sim.Stop() })
			url := healthy().server(t)
			f := find(look(t, Config{Edge: url, Admin: url, Backends: []Backend{{URL: s.URL, APIKey: c.key}}}), c.seen)
			if f == nil || f.Level != c.level || !strings.Contains(f.Remedy, c.remedy) {
				t.Errorf("got %+v, want level %d and a remedy with %q", f, c.level, c.remedy)
			}
		})
	}
}
