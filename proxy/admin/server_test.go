package admin

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ask(t *testing.T, s *Server, path, host, token string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://"+host+path, nil)
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestWhoGetsIn(t *testing.T) {
	status := func() Status { return Status{Version: "v1"} }
	open, err := New(Config{Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Status: status})
	if err != nil {
		t.Fatal(err)
	}
	closed, err := New(Config{
		Listen: ":0", Gatherer: prometheus.NewRegistry(), Status: status,
		Tokens: []Token{{Name: "ops", Token: "s3cret", Role: Operator}, {Name: "wall", Token: "look", Role: Viewer}},
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		s          *Server
		path, host string
		token      string
		want       int
	}{
		{"loopback without tokens", open, "/api/v1/status", "127.0.0.1:9001", "", 200},
		{"localhost by name", open, "/metrics", "localhost:9001", "", 200},
		{"IPv6 loopback", open, "/metrics", "[::1]:9001", "", 200},
		{"another name for this machine", open, "/api/v1/status", "evil.example:9001", "", 403},
		{"pprof under another name", open, "/debug/pprof/", "evil.example", "", 403},
		{"health under any name", open, "/healthz", "evil.example", "", 200},
		{"no token", closed, "/metrics", "127.0.0.1", "", 401},
		{"wrong token", closed, "/metrics", "box.lan", "Bearer nope", 401},
		{"wrong scheme", closed, "/metrics", "box.lan", "Basic s3cret", 401},
		{"operator", closed, "/metrics", "box.lan", "Bearer s3cret", 200},
		{"viewer, scheme in capitals", closed, "/api/v1/status", "box.lan", "BEARER look", 200},
		{"pprof without tokens", open, "/debug/pprof/", "127.0.0.1", "", 200},
		{"pprof for an operator", closed, "/debug/pprof/", "box.lan", "Bearer s3cret", 200},
		{"pprof for a viewer", closed, "/debug/pprof/", "box.lan", "Bearer look", 403},
		{"a heap for a viewer", closed, "/debug/pprof/heap", "box.lan", "Bearer look", 403},
		{"the command line for a viewer", closed, "/debug/pprof/cmdline", "box.lan", "Bearer look", 403},
		{"a profile for a viewer", closed, "/debug/pprof/profile", "box.lan", "Bearer look", 403},
		{"symbols for a viewer", closed, "/debug/pprof/symbol", "box.lan", "Bearer look", 403},
		{"a trace for a viewer", closed, "/debug/pprof/trace", "box.lan", "Bearer look", 403},
		{"pprof without a token", closed, "/debug/pprof/", "box.lan", "", 401},
		{"metrics for a viewer", closed, "/metrics", "box.lan", "Bearer look", 200},
		{"unknown path", open, "/nothing", "127.0.0.1", "", 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, body := ask(t, tt.s, tt.path, tt.host, tt.token); got != tt.want {
				t.Errorf("%d %s, want %d", got, body, tt.want)
			}
		})
	}
}

func TestRefusesToBeOpenToTheNetwork(t *testing.T) {
	for _, listen := range []string{":9001", "0.0.0.0:9001", "10.1.2.3:9001", "box.lan:9001"} {
		if _, err := New(Config{Listen: listen}); err == nil || !strings.Contains(err.Error(), "admin.tokens") {
			t.Errorf("%s: %v, want an error that names admin.tokens", listen, err)
		}
	}
}

func TestTokensNeedARole(t *testing.T) {
	_, err := New(Config{Listen: ":9001", Tokens: []Token{{Name: "ops", Token: "s3cret", Role: "boss"}}})
	if err == nil || !strings.Contains(err.Error(), `"boss"`) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v, want an error that names the role and not the token", err)
	}
}

func TestStartStop(t *testing.T) {
	s, err := New(Config{Listen: "127.0.0.1:0", MetricsListen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Status: func() Status { return Status{} }})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i, path := range []string{"/api/v1/status", "/metrics"} {
		resp, err := client.Get("http://" + s.Addrs()[i].String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	s.Stop(t.Context())
	s.Stop(t.Context())
}
