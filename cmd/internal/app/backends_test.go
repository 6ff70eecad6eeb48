package app

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// order is a call of the admin API.
func (in *installation) order(method, path string, body any) answer {
	in.t.Helper()
	req := request(in.t.Context(), in.t, in.app.AdminURL()+path, body)
	req.Method = method
	resp, err := client().Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	return read(in.t, resp)
}

// backends are the URLs of the first pool, with what each lacks.
func (in *installation) backends() map[string]string {
	out := map[string]string{}
	for _, b := range in.app.status().Pools[0].Backends {
		out[b.URL] = b.Detail
	}
	return out
}

// TestBackendsComeAndGo by the admin API, while requests run: one that drains ends
// what it has and gets nothing new, what was added serves, and what was removed is
// gone; all of that stays over a restart, and none of it is in the file.
func TestBackendsComeAndGo(t *testing.T) {
	var mu sync.Mutex
	served := map[string]int{}
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	slow := true
	serve := func(name string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			served[name]++
			wait := slow
			slow = false
			mu.Unlock()
			if wait {
				held <- struct{}{}
				<-hold
			}
			whole(w, r)
		}
	}
	a, b := newModel(t, serve("a")), newModel(t, serve("b"))
	in := install(t, a.pool(4))
	in.ready()
	first := make(chan answer, 1)
	go func() { first <- in.post("/v1/chat/completions", chatOf("one")) }()
	<-held
	if got := in.order(http.MethodPost, "/api/v1/backends", map[string]any{"url": b.URL, "slots": 4}); got.status != http.StatusNoContent {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := in.order(http.MethodPost, "/api/v1/backends/drain", map[string]any{"pool": "main", "url": a.URL}); got.status != http.StatusNoContent {
		t.Fatalf("%d %s", got.status, got.body)
	}
	up := func(m *model) string {
		return in.metric(`fairlane_backend_up{backend="` + strings.TrimPrefix(m.URL, "http://") + `",pool="main"}`)
	}
	in.until("one is up and the other drains", func() bool { return up(a) == "0" && up(b) == "1" })
	for range 3 {
		if got := in.post("/v1/chat/completions", chatOf("two")); got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	close(hold)
	if got := <-first; got.status != http.StatusOK {
		t.Errorf("what ran there ended with %d %s", got.status, got.body)
	}
	mu.Lock()
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 3}, served); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	mu.Unlock()
	if got := in.order(http.MethodDelete, "/api/v1/backends?url="+url.QueryEscape(a.URL), nil); got.status != http.StatusNoContent {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if got := in.order(http.MethodDelete, "/api/v1/backends?url="+url.QueryEscape(a.URL), nil); got.status != http.StatusNotFound {
		t.Errorf("twice: %d %s", got.status, got.body)
	}
	in.until("it is gone", func() bool { return up(a) == "" })
	in.app.Reload() // the file says another thing, and operators the last
	if got := in.backends(); len(got) != 1 || got[b.URL] != "" {
		t.Errorf("after a reload %v", got)
	}
	in.app.Stop()

	again := &installation{t: t, file: in.file, log: &buffer{}, said: &buffer{}}
	var err error
	if again.app, err = New(Options{ConfigPath: in.file, Env: noEnv, Stdout: again.said, Stderr: again.log}); err != nil {
		t.Fatal(err)
	}
	if err := again.app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer again.app.Stop()
	again.ready()
	if got := again.backends(); len(got) != 1 || got[b.URL] != "" {
		t.Errorf("after a restart %v", got)
	}
}

// TestEveryAddressOfAName is a backend of its own.
func TestEveryAddressOfAName(t *testing.T) {
	m := newModel(t, whole)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(m.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	in := prepare(t, "pools:\n  - backends: [{url: \"dns+http://vllm.svc:"+port+"\", slots: 3}]\n")
	in.app.opts.Lookup = func(_ context.Context, host string) ([]string, error) {
		if host != "vllm.svc" {
			t.Errorf("%s was looked up", host)
		}
		return []string{"127.0.0.1", "127.0.0.2"}, nil
	}
	if err := in.app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.app.Stop)
	in.until("both are there", func() bool { return len(in.backends()) == 2 })
	in.until("one answers", func() bool {
		return in.metric(`fairlane_backend_slots{backend="127.0.0.1:`+port+`",pool="main"}`) == "3" &&
			in.metric(`fairlane_backend_up{backend="127.0.0.1:`+port+`",pool="main"}`) == "1"
	})
	if got := in.post("/v1/chat/completions", chatOf("one")); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
}
