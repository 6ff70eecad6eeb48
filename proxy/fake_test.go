package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// fakes are the edge's neighbours, as a test wants them.
type fakes struct {
	identify func(*http.Request) (*identity.Identity, *scheduler.Problem)
	decide   func(*identity.Identity, *policy.Query) (*policy.Decision, *scheduler.Problem)
	take     func(*policy.Decision, Need) (Allowance, *scheduler.Problem)
	submit   func(context.Context, *scheduler.Submission) (scheduler.Call, error)
	pass     func(pool string, p *Passage) (*http.Response, error)
	list     func(ctx context.Context, pool, user string) ([]scheduler.Listed, error)
	catalog  *Catalog
	ready    func() error

	log *lines
	reg *prometheus.Registry
}

func newFakes() *fakes {
	return &fakes{
		identify: func(*http.Request) (*identity.Identity, *scheduler.Problem) {
			return &identity.Identity{UserKey: "user:ann", Name: "Ann", IP: "192.0.2.1", ChatID: "c1"}, nil
		},
		decide: func(*identity.Identity, *policy.Query) (*policy.Decision, *scheduler.Problem) {
			return &policy.Decision{Class: "standard", ClassWeight: 3, UserWeight: 1, MaxRunning: 8, MaxSequences: 4, MaxWait: time.Minute, Size: "light"}, nil
		},
		catalog: NewCatalog([]Offer{{Pool: "main", Models: []scheduler.Model{{ID: "org/m", MaxModelLen: 4096}}, Aliases: map[string]string{"gpt": "org/m"}}}),
		log:     &lines{},
		reg:     prometheus.NewRegistry(),
	}
}

func (f *fakes) Identify(r *http.Request) (*identity.Identity, *scheduler.Problem) {
	return f.identify(r)
}

func (f *fakes) Decide(id *identity.Identity, q *policy.Query) (*policy.Decision, *scheduler.Problem) {
	return f.decide(id, q)
}

func (f *fakes) Take(_ context.Context, d *policy.Decision, n Need) (Allowance, *scheduler.Problem) {
	if f.take == nil {
		return Allowance{}, nil
	}
	return f.take(d, n)
}

func (f *fakes) Submit(ctx context.Context, s *scheduler.Submission) (scheduler.Call, error) {
	return f.submit(ctx, s)
}

func (f *fakes) Pass(_ context.Context, pool string, p *Passage) (*http.Response, error) {
	return f.pass(pool, p)
}

// lister is the leader of a pool.
func (f *fakes) lister(pool string) scheduler.Lister {
	return listerFunc(func(ctx context.Context, user string) ([]scheduler.Listed, error) { return f.list(ctx, pool, user) })
}

type listerFunc func(ctx context.Context, user string) ([]scheduler.Listed, error)

func (l listerFunc) List(ctx context.Context, user string) ([]scheduler.Listed, error) {
	return l(ctx, user)
}

func (f *fakes) server(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	s, err := New(cfg, Deps{
		Identifier: f, Decider: f, Limiter: f, Queue: f, Passer: f, Lister: f.lister, Catalog: func() *Catalog { return f.catalog }, Ready: f.ready,
		Metrics: f.reg, Logger: slog.New(slog.NewJSONHandler(f.log, nil)),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// answers makes the queue answer every call with these events.
func (f *fakes) answers(events ...scheduler.CallEvent) {
	f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) {
		c := newFakeCall()
		for _, ev := range events {
			c.events <- ev
		}
		return c, nil
	}
}

// fakeCall hands out what its test puts in.
type fakeCall struct {
	events    chan scheduler.CallEvent
	cancelled chan struct{}
	once      sync.Once
}

func newFakeCall(events ...scheduler.CallEvent) *fakeCall {
	c := &fakeCall{events: make(chan scheduler.CallEvent, 100), cancelled: make(chan struct{})}
	for _, ev := range events {
		c.events <- ev
	}
	return c
}

func (c *fakeCall) Next(ctx context.Context) (scheduler.CallEvent, error) {
	select {
	case ev := <-c.events:
		return ev, nil
	default:
	}
	select {
	case ev := <-c.events:
		return ev, nil
	case <-ctx.Done():
		return scheduler.CallEvent{}, ctx.Err()
	}
}

func (c *fakeCall) Cancel() { c.once.Do(func() { close(c.cancelled) }) }

func queued(position int) scheduler.CallEvent {
	return scheduler.CallEvent{Kind: scheduler.CallQueued, Position: position}
}

func granted() scheduler.CallEvent { return scheduler.CallEvent{Kind: scheduler.CallGranted} }

func head(status int, contentType string) scheduler.CallEvent {
	return scheduler.CallEvent{Kind: scheduler.CallHead, Head: &scheduler.Head{
		Status: status, Backend: "gpu:8000", Attempt: 1,
		Header: http.Header{"Content-Type": {contentType}, "Set-Cookie": {"secret"}, "Server": {"uvicorn"}},
	}}
}

func data(s string) scheduler.CallEvent {
	return scheduler.CallEvent{Kind: scheduler.CallData, Data: []byte(s)}
}

func end(o scheduler.Outcome) scheduler.CallEvent {
	return scheduler.CallEvent{Kind: scheduler.CallEnd, End: &scheduler.End{Outcome: o, Usage: scheduler.Usage{Input: 10, Cached: 4, Output: 3, Known: true}, Cost: 12.4}}
}

func broken(p *scheduler.Problem) scheduler.CallEvent {
	return scheduler.CallEvent{Kind: scheduler.CallProblem, Problem: p}
}

// lines are log lines, decoded.
type lines struct {
	mu  sync.Mutex
	all []map[string]any
}

func (l *lines) Write(b []byte) (int, error) {
	var line map[string]any
	if err := json.Unmarshal(b, &line); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, line)
	return len(b), nil
}

// requests are the lines of requests that ended.
func (l *lines) requests() []map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for _, line := range l.all {
		if line["msg"] == "request" {
			out = append(out, line)
		}
	}
	return out
}

// one is the line of the only request.
func (l *lines) one(tb testing.TB) map[string]any {
	tb.Helper()
	all := l.requests()
	if len(all) != 1 {
		tb.Fatalf("%d lines of requests, want 1: %v", len(all), all)
	}
	return all[0]
}

// counted is the value of a counter summed over the labels that are not named,
// or the number of observations of a histogram.
func (f *fakes) counted(tb testing.TB, name string, labels map[string]string) float64 {
	tb.Helper()
	families, err := f.reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	var sum float64
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			fits := true
			for _, pair := range m.GetLabel() {
				if want, named := labels[pair.GetName()]; named && want != pair.GetValue() {
					fits = false
				}
			}
			if fits {
				sum += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// once checks that the request ended in this outcome, and in no other.
func (f *fakes) once(tb testing.TB, want scheduler.Outcome) map[string]any {
	tb.Helper()
	line := f.log.one(tb)
	if line["outcome"] != string(want) {
		tb.Errorf("outcome %v, want %s", line["outcome"], want)
	}
	if n := f.counted(tb, "fairlane_requests_total", nil); n != 1 {
		tb.Errorf("%v requests were counted", n)
	}
	if n := f.counted(tb, "fairlane_requests_total", map[string]string{"outcome": string(want)}); n != 1 {
		tb.Errorf("%v requests were counted as %s", n, want)
	}
	if n := f.counted(tb, "fairlane_request_duration_seconds", nil); n != 1 {
		tb.Errorf("%v durations", n)
	}
	return line
}

// memory is a network that fake time can rule.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error { m.once.Do(func() { close(m.done) }); return nil }

func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

func (m *memory) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case m.conns <- server:
		return client, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

// start serves on a network in memory and gives a client of it.
func start(tb testing.TB, s *Server) (*http.Client, *memory) {
	tb.Helper()
	m := newMemory()
	s.serveOn(m)
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return m.dial() }, DisableCompression: true}
	tb.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Stop(context.Background())
	})
	return &http.Client{Transport: transport}, m
}

const (
	chatPath   = "/v1/chat/completions"
	chatBody   = `{"model":"gpt","messages":[{"role":"user","content":"hi"}]}`
	streamBody = `{"model":"gpt","stream":true,"messages":[{"role":"user","content":"hi"}]}`
	sse        = "text/event-stream; charset=utf-8"
	chunk      = `data: {"choices":[{"delta":{"content":"a"}}]}` + "\n\n"
)

func post(tb testing.TB, c *http.Client, path, body string) *http.Response {
	tb.Helper()
	resp, err := c.Post("http://edge"+path, "application/json", strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { resp.Body.Close() })
	return resp
}

func readAll(tb testing.TB, r io.Reader) string {
	tb.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// errorOf reads an error in OpenAI's shape.
func errorOf(tb testing.TB, body string) (code, param, message string) {
	tb.Helper()
	var e struct {
		Error struct {
			Message, Type string
			Param, Code   *string
		}
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(body)))
	if err := dec.Decode(&e); err != nil || e.Error.Code == nil || e.Error.Type == "" {
		tb.Fatalf("no error: %s", body)
	}
	if e.Error.Param != nil {
		param = *e.Error.Param
	}
	return *e.Error.Code, param, e.Error.Message
}

// nextEvent reads one event of a stream.
func nextEvent(tb testing.TB, r *bufio.Reader) string {
	tb.Helper()
	var out strings.Builder
	for {
		line, err := r.ReadString('\n')
		out.WriteString(line)
		if err != nil {
			tb.Fatalf("after %q: %v", out.String(), err)
		}
		if line == "\n" {
			return out.String()
		}
	}
}

// unknown is the input of a usage that nobody knows.
const unknown = -1

// takeAll is a limiter that always gives.
func takeAll(settle func(scheduler.Usage)) func(*policy.Decision, Need) (Allowance, *scheduler.Problem) {
	return func(*policy.Decision, Need) (Allowance, *scheduler.Problem) {
		return Allowance{Settle: func(u *scheduler.Usage) {
			if u == nil {
				u = &scheduler.Usage{Input: unknown}
			}
			settle(*u)
		}}, nil
	}
}
