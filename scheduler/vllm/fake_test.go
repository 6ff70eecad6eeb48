package vllm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a network of one listener, without sockets, so that what waits on
// it can be tested in a bubble.
type memory struct {
	mu    sync.Mutex
	gone  chan struct{} // nobody listens any more
	queue chan net.Conn
	ends  []net.Conn // the server's
	dials atomic.Int32
}

func newMemory() *memory {
	return &memory{gone: make(chan struct{}), queue: make(chan net.Conn)}
}

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case m.queue <- far:
		m.dials.Add(1)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.ends = append(m.ends, far)
		return near, nil
	case <-m.gone:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.queue:
		return c, nil
	case <-m.gone:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.gone:
	default:
		close(m.gone)
	}
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// hangUp closes all connections from the server's side.
func (m *memory) hangUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.ends {
		_ = c.Close()
	}
	m.ends = nil
}

// die is the end of a process: no listener, no connection.
func (m *memory) die() {
	_ = m.Close()
	m.hangUp()
}

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
func serve(t *testing.T, m *memory, e http.Handler) {
	t.Helper()
	srv := &http.Server{Handler: e}
	go srv.Serve(m)
	t.Cleanup(func() {
		_ = m.Close()
		_ = srv.Close()
	})
}

// inMemory is a backend behind a memory network.
func inMemory(t *testing.T, e http.Handler, change func(*Config)) (*Backend, *memory) {
	t.Helper()
	m := newMemory()
	serve(t, m, e)
	cfg := Config{URL: "http://gpu:8000", Dial: m.dial}
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
