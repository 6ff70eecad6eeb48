package vllmsim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
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

// answered is what came back.
type answered struct {
	status int
	header http.Header
	body   string
}

func (rq request) send(ctx context.Context, base string) (*http.Response, error) {
	method := rq.method
	if method == "" {
		method = http.MethodGet
		if rq.body != "" {
			method = http.MethodPost
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, base+rq.path, strings.NewReader(rq.body))
	if err != nil {
		return nil, err
	}
	if rq.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, v := range rq.header {
		req.Header.Set(name, v)
		if v == "" {
			req.Header.Del(name)
		}
	}
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
