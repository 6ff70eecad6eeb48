package admin

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"fairlane/proxy/refusals"
)

// busy is a status with all that the page can show.
func busy(now time.Time) Status {
	return Status{
		Version: "v1.2.3", Revision: "abc1234", StartedAt: now.Add(-26 * time.Hour), Roles: []string{"proxy", "dispatcher"}, NATS: NATS{Embedded: true, Up: true}, OpenCalls: 1234,
		Config: ConfigFile{Path: "/etc/fairlane.yaml", LoadedAt: now.Add(-90 * time.Second), Error: "policy[0].weight: 0 is not from 0.01 to 1000", Warnings: []string{"tracing: does nothing"}},
		Pools: []Pool{
			{
				Name: "main", Leading: true, Load: 0.3,
				Classes: []Class{
					{Name: "staff", Weight: 3, Waiting: 1042, Running: 40, OldestSeconds: 75, Share: 0.61, Entitled: 0.6},
					{Name: "vip<script>", Weight: 0.5},
				},
				Backends: []Backend{
					{URL: "http://gpu1:8000", Up: true, Models: []string{"m", "n"}, Slots: 64, Running: 40, KVHeld: 300_000, KVBudget: 855_000, Beta: 0.9, Rho: 1.05, Scraped: true},
					{URL: "http://gpu2:8000", Detail: "connection refused"},
				},
				Suspects:   []Suspect{{RequestID: "r1", UserKey: "user:mallory", At: now}},
				Inversions: []Inversion{{Heavy: "staff", Light: "batch", HeavyMembers: 40, LightMembers: 2, HeavyPart: 0.01, LightPart: 0.1}},
			},
			{Name: "other", Load: -1, Backends: []Backend{{URL: "http://gpu3:8000", Up: true}}},
		},
		Identity: Identity{OpenMode: true, Findings: []Finding{{Forwarder: "owui", Problem: "no groups come", Remedy: "Turn on roles"}}},
	}
}

type topRefused []refusals.Refused

func (t topRefused) Top(n int) []refusals.Refused { return t[:min(n, len(t))] }

func TestThePage(t *testing.T) {
	now := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	v := &view{Status: busy(now), Now: now, Counts: true, Refused: []refusals.Refused{
		{UserKey: "user:a", UserName: "Alice", Email: "alice@example.com", Refusals: 12, Reason: "user_rate", Limit: "30/minute", Last: now.Add(-3 * time.Minute)},
		{UserKey: "ip:10.0.0.1", Refusals: 1, Reason: "class_queue_full", Last: now},
	}}
	got, err := v.render()
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/page.html"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestThePageOfAnEmptyProcess says that there is nothing, and warns of nothing.
func TestThePageOfAnEmptyProcess(t *testing.T) {
	v := &view{Status: Status{NATS: NATS{Up: true}, Pools: []Pool{{Name: "main", Leading: true}}}, Counts: true}
	got, err := v.render()
	for _, want := range []string{"Nothing to warn of", "Nobody has asked yet", "There is no backend", "<p>Nobody.</p>"} {
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%v: lacks %q in\n%s", err, want, got)
		}
	}
}

// TestWhoSeesThePage: with tokens a browser is asked for one, as a password, for this
// path only.
func TestWhoSeesThePage(t *testing.T) {
	cfg := Config{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Status: func() Status { return busy(time.Now()) }, Refusals: topRefused{}}
	open, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Tokens = []Token{{Name: "wall", Token: "look", Role: Viewer}}
	closed, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		s              *Server
		host, path     string
		password       string
		want           int
		challenged, is string
	}{
		{open, "127.0.0.1", "/", "", 200, "", "text/html; charset=utf-8"},
		{open, "evil.example", "/", "", 403, "", ""},
		{open, "127.0.0.1", "/index.html", "", 404, "", ""},
		{closed, "box.lan", "/", "", 401, "Basic", ""},
		{closed, "box.lan", "/", "wrong", 401, "Basic", ""},
		{closed, "box.lan", "/", "look", 200, "", "text/html; charset=utf-8"},
		{closed, "box.lan", "/api/v1/status", "look", 401, "Bearer", ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "http://"+c.host+c.path, nil)
		if c.password != "" {
			r.SetBasicAuth("anybody", c.password)
		}
		w := httptest.NewRecorder()
		c.s.Handler().ServeHTTP(w, r)
		challenge := strings.Join(w.Header().Values("WWW-Authenticate"), ", ")
		if w.Code != c.want || c.is != "" && w.Header().Get("Content-Type") != c.is || !strings.Contains(challenge, c.challenged) || c.challenged != "Basic" && strings.Contains(challenge, "Basic") {
			t.Errorf("%s%s with %q: %d, %v", c.host, c.path, c.password, w.Code, w.Header())
		}
		if c.want == http.StatusOK && (!strings.Contains(w.Header().Get("Content-Security-Policy"), "default-src 'none'") || strings.Contains(w.Body.String(), "<script")) {
			t.Errorf("the page may run or fetch something: %v", w.Header())
		}
	}
}
