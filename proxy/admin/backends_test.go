package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// orders notes what it was told, and fails as it is told.
type orders struct {
	heard []string
	err   error
}

func (o *orders) note(what, pool, url string) error {
	o.heard = append(o.heard, what+" "+pool+" "+url)
	return o.err
}

func (o *orders) Add(_ context.Context, pool string, b NewBackend) error {
	return o.note(fmt.Sprintf("add %d %d", b.Slots, b.KVTokens), pool, b.URL)
}

func (o *orders) Drain(_ context.Context, pool, url string) error { return o.note("drain", pool, url) }

func (o *orders) Resume(_ context.Context, pool, url string) error {
	return o.note("resume", pool, url)
}

func (o *orders) Remove(_ context.Context, pool, url string) error {
	return o.note("remove", pool, url)
}

// TestBackendOrders: an operator is heard, and nobody else; a wrong order is told
// and not carried out; a page that a browser shows from elsewhere orders nothing.
func TestBackendOrders(t *testing.T) {
	heard := &orders{}
	cfg := Config{
		Listen: "127.0.0.1:0", Gatherer: prometheus.NewRegistry(), Backends: heard,
		Status: func() Status {
			return Status{Pools: []Pool{{Name: "main", Backends: []Backend{{URL: "http://a", Up: true}}}}}
		},
	}
	open, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Tokens = []Token{{Name: "ops", Token: "s3cret", Role: Operator}, {Name: "wall", Token: "look", Role: Viewer}}
	closed, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const path = "/api/v1/backends"
	for name, tc := range map[string]struct {
		s            *Server
		method, path string
		body         string
		header       []string
		err          error
		want         int
		heard        string
	}{
		"add":            {open, "POST", path, `{"url":"http://b","slots":3,"kv_tokens":9}`, nil, nil, 204, "add 3 9 main http://b"},
		"an operator":    {closed, "POST", path + "/drain", `{"url":"http://a","pool":"x"}`, []string{"Authorization", "Bearer s3cret"}, nil, 204, "drain x http://a"},
		"resume":         {open, "POST", path + "/resume", `{"url":"http://a"}`, nil, nil, 204, "resume main http://a"},
		"remove":         {open, "DELETE", path + "?url=http://a&pool=p", "", nil, nil, 204, "remove p http://a"},
		"a viewer":       {closed, "POST", path, `{"url":"http://b"}`, []string{"Authorization", "Bearer look"}, nil, 403, ""},
		"nobody":         {closed, "DELETE", path + "?url=http://a", "", nil, nil, 401, ""},
		"another page":   {open, "POST", path, `{"url":"http://b"}`, []string{"Content-Type", "text/plain", "Origin", "http://evil.example"}, nil, 403, ""},
		"a browser says": {open, "POST", path, `{"url":"http://b"}`, []string{"Sec-Fetch-Site", "cross-site"}, nil, 403, ""},
		"no JSON":        {open, "POST", path, `url=http://b`, nil, nil, 400, ""},
		"unknown fields": {open, "POST", path, `{"url":"http://b","api_key":"x"}`, nil, nil, 400, ""},
		"less than none": {open, "POST", path, `{"url":"http://b","slots":-1}`, nil, nil, 400, ""},
		"unknown":        {open, "DELETE", path + "?url=http://x", "", nil, fmt.Errorf("%w: x", ErrNotFound), 404, "remove main http://x"},
		"impossible":     {open, "POST", path, `{"url":"ftp://x"}`, nil, fmt.Errorf("%w: x", ErrInvalid), 400, "add 0 0 main ftp://x"},
		"not kept":       {open, "POST", path, `{"url":"http://b"}`, nil, errors.New("the store is down"), 503, "add 0 0 main http://b"},
	} {
		t.Run(name, func(t *testing.T) {
			heard.heard, heard.err = nil, tc.err
			r := httptest.NewRequest(tc.method, "http://127.0.0.1:9001"+tc.path, strings.NewReader(tc.body))
			for i := 0; i+1 < len(tc.header); i += 2 {
				r.Header.Set(tc.header[i], tc.header[i+1])
			}
			w := httptest.NewRecorder()
			tc.s.Handler().ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if diff := cmp.Diff(tc.heard, strings.Join(heard.heard, "; ")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
	if code, body := ask(t, closed, path, "box.lan", "Bearer look"); code != http.StatusOK || !strings.Contains(body, `"url": "http://a"`) {
		t.Errorf("%d %s", code, body)
	}
}
