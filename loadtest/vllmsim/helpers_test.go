package vllmsim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// serve starts an emulator behind a listener of its own. Without a speed it runs a
// thousand times faster than the GPU.
func serve(t testing.TB, cfg Config) (*Server, string) {
	t.Helper()
	if cfg.Speed == 0 {
		cfg.Speed = 1000
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		s.Stop()
		ts.Close()
	})
	return s, ts.URL
}

// request is one exchange with a server.
type request struct {
	method string // "": POST with a body, GET without
	path   string
	header map[string]string
	body   string
}

// bubble is a test and an emulator within a bubble.
type bubble struct {
	*testing.T
	server *Server
}

// inBubble runs f with an emulator in a bubble of fake time, where a token is never
// late. Requests go to its handler without a socket.
func inBubble(t *testing.T, cfg Config, f func(bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Stop()
		f(bubble{t, s})
	})
}

// on sends the request to a handler and waits for the answer.
func (rq request) on(t testing.TB, s *Server) answered {
	t.Helper()
	return rq.with(t.Context(), s)
}

// aborted reports whether a handler panicked as net/http offers to close a connection.
func aborted(recovered any) bool {
	err, ok := recovered.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// texts joins what each chunk of a chat says at a path, where it says something.
func texts(t testing.TB, chunks []map[string]any, path ...any) string {
	t.Helper()
	var out strings.Builder
	for _, c := range chunks {
		if list, ok := c["choices"].([]any); !ok || len(list) == 0 {
			continue
		}
		delta, _ := at(t, c, "choices", 0, "delta").(map[string]any)
		if _, ok := delta[path[0].(string)]; !ok {
			continue
		}
		s, _ := at(t, delta, path...).(string)
		out.WriteString(s)
	}
	return out.String()
}

func (rq request) with(ctx context.Context, s *Server) answered {
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, rq.make(ctx))
	return answered{rec.Code, rec.Header(), rec.Body.String()}
}

// make is the request as a server gets it.
func (rq request) make(ctx context.Context) *http.Request {
	r := httptest.NewRequestWithContext(ctx, rq.verb(), "http://here/", strings.NewReader(rq.body))
	path, query, _ := strings.Cut(rq.path, "?")
	r.URL.Path, r.URL.RawQuery = path, query
	rq.setHeader(r.Header)
	return r
}

func (rq request) verb() string {
	switch {
	case rq.method != "":
		return rq.method
	case rq.body != "":
		return http.MethodPost
	}
	return http.MethodGet
}

func (rq request) setHeader(h http.Header) {
	if rq.body != "" {
		h.Set("Content-Type", "application/json")
	}
	for name, v := range rq.header {
		h.Set(name, v)
		if v == "" {
			h.Del(name)
		}
	}
}

// answered is what came back.
type answered struct {
	status int
	header http.Header
	body   string
}

func (rq request) send(ctx context.Context, base string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, rq.verb(), base+rq.path, strings.NewReader(rq.body))
	if err != nil {
		return nil, err
	}
	rq.setHeader(req.Header)
	req.Close = true // the real one closes kept connections at times of its own
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return client.Do(req)
}

func (rq request) do(t testing.TB, base string) answered {
	t.Helper()
	res, err := rq.send(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{res.StatusCode, res.Header, string(b)}
}

// decode reads a JSON body that must be one.
func (a answered) decode(t testing.TB) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	return v
}

// event is one of a stream's.
type event struct {
	name string
	data string
}

// events splits a stream.
func (a answered) events(t testing.TB) []event {
	t.Helper()
	var out []event
	for block := range strings.SplitSeq(strings.TrimSuffix(a.body, "\n\n"), "\n\n") {
		var e event
		for line := range strings.SplitSeq(block, "\n") {
			name, value, ok := strings.Cut(line, ": ")
			switch {
			case !ok:
				t.Fatalf("no field in %q", line)
			case name == "event":
				e.name = value
			case name == "data":
				e.data = value
			}
		}
		out = append(out, e)
	}
	return out
}

// at walks into a decoded body: at(v, "choices", 0, "text").
func at(t testing.TB, v any, path ...any) any {
	t.Helper()
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%v is no object at %v of %v", v, p, path)
			}
			v = m[p]
		case int:
			l, ok := v.([]any)
			if !ok || p >= len(l) {
				t.Fatalf("%v has no element %d of %v", v, p, path)
			}
			v = l[p]
		}
	}
	return v
}

// shape is the keys and types of a JSON value, for comparing two of them. Equal
// neighbours in a list are told once.
func shape(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case string:
		return "string"
	case float64:
		return "number"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, shape(e))
		}
		return "[" + strings.Join(slices.Compact(parts), " ") + "]"
	case map[string]any:
		var parts []string
		for name, e := range v {
			switch name {
			case "bytes": // as many as the token has
				parts = append(parts, name)
			case "top_logprobs":
				parts = append(parts, name+":"+rivalsShape(e))
			default:
				parts = append(parts, strings.TrimLeft(name, "0123456789")+":"+shape(e))
			}
		}
		slices.Sort(parts)
		return "{" + strings.Join(slices.Compact(parts), " ") + "}"
	}
	return fmt.Sprintf("%T", v)
}

// rivalsShape is that of alternatives, which a completion calls by their texts.
func rivalsShape(v any) string {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return shape(v)
	}
	if m, ok := list[len(list)-1].(map[string]any); ok && m["token"] == nil {
		return "by text"
	}
	return shape(v)
}
