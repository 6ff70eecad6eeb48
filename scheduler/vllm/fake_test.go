package vllm

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"fairlane/scheduler/vllm/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// engine is a backend as a test wants it. Nil: 200.
type engine struct {
	mu      sync.Mutex
	health  func(w http.ResponseWriter, r *http.Request)
	models  string
	metrics string
	answer  func(w http.ResponseWriter, r *http.Request)
	seen    []string // paths in order
	auth    string   // of the last request
}

const oneModel = `{"object":"list","data":[{"id":"tiny","max_model_len":4096,"owned_by":"vllm","created":7}]}`

func (e *engine) set(change func(e *engine)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

func (e *engine) asked(path string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.seen {
		if p == path {
			n++
		}
	}
	return n
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.seen = append(e.seen, r.URL.Path)
	e.auth = r.Header.Get("Authorization")
	health, models, metrics, answer := e.health, e.models, e.metrics, e.answer
	e.mu.Unlock()
	switch {
	case r.URL.Path == "/health" && health != nil:
		health(w, r)
	case r.URL.Path == "/health":
	case r.URL.Path == "/v1/models" && models != "":
		fmt.Fprint(w, models)
	case r.URL.Path == "/v1/models":
		fmt.Fprint(w, oneModel)
	case r.URL.Path == "/metrics" && metrics != "":
		fmt.Fprint(w, metrics)
	case answer != nil:
		answer(w, r)
	default:
		http.NotFound(w, r)
	}
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// silent answers nothing until the caller has had enough.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// serve serves e on m until the test is over.
func serve(t *testing.T, m *memnet.Net, e http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: e}
	go srv.Serve(m)
	t.Cleanup(func() {
		_ = m.Close()
		_ = srv.Close()
	})
}

// inMemory is a backend behind a memory network.
func inMemory(t *testing.T, e http.Handler, change func(*Config)) (*Backend, *memnet.Net) {
	t.Helper()
	m := memnet.New()
	serve(t, m, e)
	cfg := Config{URL: "http://gpu:8000", Dial: m.Dial}
	if change != nil {
		change(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b, m
}
