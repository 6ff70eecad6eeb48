package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

// ask serves one request without a network.
func ask(s *Server, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://edge/", strings.NewReader(body))
	r.URL.Path, r.RequestURI = path, path
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func TestHealth(t *testing.T) {
	f := newFakes()
	s := f.server(t, Config{})
	if w := ask(s, "GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("healthz %d", w.Code)
	}
	if w := ask(s, "GET", "/readyz", ""); w.Code != 200 {
		t.Errorf("readyz %d", w.Code)
	}
	if w := ask(s, "POST", "/readyz", ""); w.Code != 405 {
		t.Errorf("POST readyz %d", w.Code)
	}
	s.deps.Ready = func() error { return errors.New("the store is down") }
	if w := ask(s, "GET", "/readyz", ""); w.Code != 503 || !strings.Contains(w.Body.String(), "store") {
		t.Errorf("readyz %d %s", w.Code, w.Body)
	}
	s.deps.Ready = nil
	s.Drain()
	if w := ask(s, "GET", "/readyz", ""); w.Code != 503 {
		t.Errorf("readyz while draining %d", w.Code)
	}
	if w := ask(s, "GET", "/healthz", ""); w.Code != 200 {
		t.Errorf("healthz while draining %d", w.Code)
	}
	if n := len(f.log.requests()); n != 0 {
		t.Errorf("%d lines", n)
	}
}

func TestModels(t *testing.T) {
	f := newFakes()
	f.catalog = NewCatalog([]Offer{
		{Pool: "b", Models: []scheduler.Model{{ID: "org/m", MaxModelLen: 4096, OwnedBy: "us", Created: 7}}, Aliases: map[string]string{"gpt": "org/m", "lost": "nowhere"}},
		{Pool: "a", Models: []scheduler.Model{{ID: "tiny"}, {ID: "org/m"}}},
	})
	s := f.server(t, Config{})
	w := ask(s, "GET", "/v1/models", "")
	want := `{"object":"list","data":[` +
		`{"id":"gpt","object":"model","created":7,"owned_by":"us","root":"org/m","parent":null,"max_model_len":4096},` +
		`{"id":"org/m","object":"model","created":7,"owned_by":"us","root":"org/m","parent":null,"max_model_len":4096},` +
		`{"id":"tiny","object":"model","created":0,"owned_by":"vllm","root":"tiny","parent":null}]}`
	if w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask(s, "HEAD", "/v1/models", ""); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("HEAD: %d %s", w.Code, w.Body)
	}
	if w := ask(s, "GET", "/v1/models/org/m", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"id":"org/m"`) {
		t.Errorf("one: %d %s", w.Code, w.Body)
	}
	w = ask(s, "GET", "/v1/models/lost", "")
	if code, param, _ := errorOf(t, w.Body.String()); w.Code != 404 || code != "model_not_found" || param != "model" {
		t.Errorf("none: %d %s", w.Code, w.Body)
	}
	if n := f.counted(t, "fairlane_requests_total", map[string]string{"pool": none, "outcome": "completed"}); n != 3 {
		t.Errorf("%v were counted", n)
	}
}

func TestNoModelsAreAListAllTheSame(t *testing.T) {
	f := newFakes()
	f.catalog = NewCatalog(nil)
	if w := ask(f.server(t, Config{}), "GET", "/v1/models", ""); w.Body.String() != `{"object":"list","data":[]}` {
		t.Errorf("%s", w.Body)
	}
}

func TestCatalog(t *testing.T) {
	m := func(ids ...string) []scheduler.Model {
		var out []scheduler.Model
		for _, id := range ids {
			out = append(out, scheduler.Model{ID: id})
		}
		return out
	}
	tests := []struct {
		name   string
		offers []Offer
		model  string
		want   place
		code   scheduler.Code
	}{
		{"by name", []Offer{{Pool: "p", Models: m("a", "b")}}, "b", place{pool: "p", model: "b"}, ""},
		{"by alias", []Offer{{Pool: "p", Models: m("a", "b"), Aliases: map[string]string{"x": "b"}}}, "x", place{pool: "p", model: "b"}, ""},
		{"the first pool has it", []Offer{{Pool: "p", Models: m("a")}, {Pool: "q", Models: m("a")}}, "a", place{pool: "p", model: "a"}, ""},
		{"an alias does not hide a model", []Offer{{Pool: "p", Models: m("a", "b"), Aliases: map[string]string{"a": "b"}}}, "a", place{pool: "p", model: "a"}, ""},
		{"no name, one model", []Offer{{Pool: "p", Models: m("a"), Aliases: map[string]string{"x": "a"}}}, "", place{pool: "p", model: "a"}, ""},
		{"no name, two models", []Offer{{Pool: "p", Models: m("a", "b")}}, "", place{}, scheduler.CodeInvalidRequest},
		{"no such name", []Offer{{Pool: "p", Models: m("a")}}, "b", place{}, scheduler.CodeModelNotFound},
		{"an alias of nothing", []Offer{{Pool: "p", Models: m("a"), Aliases: map[string]string{"x": "b"}}}, "x", place{}, scheduler.CodeModelNotFound},
		{"nobody has answered yet: it waits", []Offer{{Pool: "p", Learning: true}}, "b", place{pool: "p", model: "b"}, ""},
		{"an alias is known before", []Offer{{Pool: "p", Learning: true, Aliases: map[string]string{"x": "b"}}, {Pool: "q", Models: m("a")}}, "x", place{pool: "p", model: "b"}, ""},
		{"nobody has answered in one of two", []Offer{{Pool: "p", Learning: true}, {Pool: "q", Models: m("a")}}, "b", place{}, scheduler.CodeNoBackend},
		{"the other's models are known", []Offer{{Pool: "p", Learning: true}, {Pool: "q", Models: m("a")}}, "a", place{pool: "q", model: "a"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, p := NewCatalog(tt.offers).find(tt.model)
			var code scheduler.Code
			if p != nil {
				code = p.Code
			}
			if got != tt.want || code != tt.code {
				t.Errorf("got %+v, %v", got, p)
			}
		})
	}
}

func TestClientsCannotMakeLabels(t *testing.T) {
	f := newFakes()
	f.catalog = NewCatalog([]Offer{{Pool: "p", Learning: true}})
	f.answers(head(200, "application/json"), data("{}"), end(scheduler.Completed))
	ask(f.server(t, Config{}), "POST", chatPath, `{"model":"anything","messages":[]}`)
	if line := f.once(t, scheduler.Completed); line["model"] != none {
		t.Errorf("model %v", line["model"])
	}
}

func TestRequestIDs(t *testing.T) {
	f := newFakes()
	s := f.server(t, Config{})
	for id, same := range map[string]bool{
		"abc-123": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "a b": false, "a\tb": false, "ä": false, "": false,
	} {
		got := ask(s, "GET", "/v1/models", "", "X-Request-Id", id).Header().Get("X-Request-Id")
		if (got == id) != same || got == "" {
			t.Errorf("%q became %q", id, got)
		}
	}
}

func TestCORS(t *testing.T) {
	f := newFakes()
	preflight := []string{"Origin", "https://a.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type"}
	off, some, all := f.server(t, Config{}), newFakes().server(t, Config{CORSOrigins: []string{"https://a.example"}}), newFakes().server(t, Config{CORSOrigins: []string{"*"}})

	w := ask(off, "OPTIONS", chatPath, "", preflight...)
	if w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Allow") != "POST, OPTIONS" {
		t.Errorf("off: %d %v", w.Code, w.Header())
	}
	for name, s := range map[string]*Server{"some": some, "all": all} {
		w := ask(s, "OPTIONS", chatPath, "", preflight...)
		for k, want := range map[string]string{
			"Access-Control-Allow-Origin": "https://a.example", "Access-Control-Allow-Headers": "authorization,content-type", "Access-Control-Allow-Methods": "GET, POST, HEAD, OPTIONS", "Access-Control-Max-Age": "600",
		} {
			if got := w.Header().Get(k); w.Code != 204 || got != want {
				t.Errorf("%s: %d %s %q", name, w.Code, k, got)
			}
		}
		w = ask(s, "GET", "/v1/models", "", "Origin", "https://a.example")
		if w.Header().Get("Access-Control-Allow-Origin") != "https://a.example" || w.Header().Get("Vary") != "Origin" || !strings.Contains(w.Header().Get("Access-Control-Expose-Headers"), "X-Request-Id") {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
	if w := ask(some, "GET", "/v1/models", "", "Origin", "https://b.example"); w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Vary") != "Origin" {
		t.Errorf("another origin: %v", w.Header())
	}
	if w := ask(some, "POST", "/v1/nothing", "", "Origin", "https://a.example"); w.Header().Get("Access-Control-Allow-Origin") == "" {
		t.Error("a page cannot read errors")
	}
}

func TestOptionsWithoutOrigin(t *testing.T) {
	f := newFakes()
	if w := ask(f.server(t, Config{}), "OPTIONS", "/v1/models", ""); w.Code != 204 || w.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	f.once(t, scheduler.Completed)
}

func TestErrorsInAnthropicsShape(t *testing.T) {
	f := newFakes()
	w := ask(f.server(t, Config{}), "POST", "/v1/messages", `{"model":"x","messages":[],"max_tokens":1}`)
	var got struct {
		Type  string
		Error struct{ Type, Message string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 404 || got.Type != "error" || got.Error.Type != "not_found_error" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPass(t *testing.T) {
	type seen struct{ Pool, Method, Path, Body string }
	answer := func(status int, body string) *http.Response {
		return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}, "Server": {"x"}}, Body: io.NopCloser(strings.NewReader(body))}
	}
	tests := []struct {
		name, method, path, body string
		reply                    func(pool string) (*http.Response, error)
		want                     []seen
		status                   int
		outcome                  scheduler.Outcome
	}{
		{
			"tokenize", "POST", "/tokenize", `{"model":"gpt","prompt":"a"}`, func(string) (*http.Response, error) { return answer(200, "{}"), nil },
			[]seen{{"main", "POST", "/tokenize", `{"model":"org/m","prompt":"a"}`}},
			200, scheduler.Completed,
		},
		{
			"detokenize", "POST", "/detokenize", `{"tokens":[1]}`, func(string) (*http.Response, error) { return answer(400, "{}"), nil },
			[]seen{{"main", "POST", "/detokenize", `{"tokens":[1]}`}},
			400, scheduler.Invalid,
		},
		{
			"count_tokens", "POST", "/v1/messages/count_tokens", `{"model":"org/m","messages":[]}`, func(string) (*http.Response, error) { return answer(200, "{}"), nil },
			[]seen{{"main", "POST", "/v1/messages/count_tokens", `{"model":"org/m","messages":[]}`}},
			200, scheduler.Completed,
		},
		{"a response in the second pool", "GET", "/v1/responses/r?1", "", func(pool string) (*http.Response, error) {
			if pool == "main" {
				return answer(404, "{}"), nil
			}
			return answer(200, "{}"), nil
		}, []seen{{"main", "GET", "/v1/responses/r%3F1", ""}, {"other", "GET", "/v1/responses/r%3F1", ""}}, 200, scheduler.Completed},
		{
			"a response nowhere", "POST", "/v1/responses/r/cancel", "", func(string) (*http.Response, error) { return answer(404, "{}"), nil },
			[]seen{{"main", "POST", "/v1/responses/r/cancel", ""}, {"other", "POST", "/v1/responses/r/cancel", ""}},
			404, scheduler.Invalid,
		},
		{
			"no backend", "POST", "/tokenize", `{}`, func(string) (*http.Response, error) { return nil, scheduler.Problemf(scheduler.CodeNoBackend, "none") },
			[]seen{{"main", "POST", "/tokenize", `{}`}},
			503, scheduler.Refused,
		},
		{
			"a broken backend", "POST", "/tokenize", `{}`, func(string) (*http.Response, error) { return nil, errors.New("secret") },
			[]seen{{"main", "POST", "/tokenize", `{}`}},
			502, scheduler.Failed,
		},
		{
			"a backend that fails", "POST", "/tokenize", `{}`, func(string) (*http.Response, error) { return answer(500, "secret"), nil },
			[]seen{{"main", "POST", "/tokenize", `{}`}},
			502, scheduler.Failed,
		},
		{
			"a backend that wants a key", "POST", "/tokenize", `{}`, func(string) (*http.Response, error) { return answer(401, "secret"), nil },
			[]seen{{"main", "POST", "/tokenize", `{}`}},
			502, scheduler.Failed,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFakes()
			f.catalog = NewCatalog([]Offer{{Pool: "main", Models: []scheduler.Model{{ID: "org/m"}}, Aliases: map[string]string{"gpt": "org/m"}}, {Pool: "other"}})
			var got []seen
			f.pass = func(pool string, p *Passage) (*http.Response, error) {
				if p.Header.Get("Authorization") != "" {
					t.Error("the credential goes on")
				}
				got = append(got, seen{pool, p.Method, p.Path, string(p.Body)})
				return tt.reply(pool)
			}
			w := ask(f.server(t, Config{}), tt.method, tt.path, tt.body, "Authorization", "Bearer x")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if w.Code != tt.status || strings.Contains(w.Body.String(), "secret") || w.Header().Get("Server") != "" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			f.once(t, tt.outcome)
		})
	}
}

func TestEstimatesLearn(t *testing.T) {
	e := newEstimates()
	text := &openai.Request{InputBytes: 3000}
	if got := e.input("m", text); got != 750 {
		t.Errorf("at first %d", got)
	}
	for range 200 {
		e.learn("m", text, scheduler.Usage{Known: true, Input: 1000})
	}
	if got := e.input("m", text); got < 990 || got > 1010 {
		t.Errorf("learned %d", got)
	}
	e.learn("m", &openai.Request{InputBytes: 10, Images: 3}, scheduler.Usage{Known: true, Input: 9000})
	e.learn("m", text, scheduler.Usage{Input: 1})
	e.learn("m", text, scheduler.Usage{Known: true, Input: 1})
	if got := e.input("m", text); got < 990 || got > 1010 {
		t.Errorf("learned nonsense: %d", got)
	}
	if got := e.input("n", &openai.Request{InputTokens: 5, Images: 2}); got != 5+2*imageTokens {
		t.Errorf("got %d", got)
	}
	if got := e.input("n", &openai.Request{}); got != 1 {
		t.Errorf("got %d", got)
	}
}

func TestSettleOnce(t *testing.T) {
	f := newFakes()
	f.answers(head(200, "application/json"), data("{}"), end(scheduler.Completed))
	var settled []scheduler.Usage
	f.take = takeAll(func(u scheduler.Usage) { settled = append(settled, u) })
	ask(f.server(t, Config{}), "POST", chatPath, chatBody)
	if diff := cmp.Diff([]scheduler.Usage{{Input: 10, Cached: 4, Output: 3, Known: true}}, settled); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogHoldsNoSecret(t *testing.T) {
	f := newFakes()
	f.answers(head(200, "application/json"), data("THE ANSWER"), end(scheduler.Completed))
	s := f.server(t, Config{})
	ask(s, "POST", chatPath, `{"model":"gpt","messages":[{"role":"user","content":"THE PROMPT"}]}`, "Authorization", "Bearer THE KEY", "Cookie", "THE COOKIE")
	ask(s, "POST", chatPath, `{"model":"THE MODEL","messages":[],"THE FIELD":1,"THE FIELD":2}`)
	all, err := json.Marshal(f.log.all)
	if err != nil || bytes.Contains(all, []byte("THE ")) {
		t.Errorf("%s %v", all, err)
	}
}

// TestFailedCredentialsAreCountedFromNothing: a series that begins with its first one
// does not rise by it.
func TestFailedCredentialsAreCountedFromNothing(t *testing.T) {
	f := newFakes()
	f.server(t, Config{})
	families, err := f.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(families, func(m *dto.MetricFamily) bool { return m.GetName() == "fairlane_auth_failures_total" })
	if i < 0 || len(families[i].GetMetric()) != len(identity.Reasons()) {
		t.Error("there are no failures of some reason")
	}
}
