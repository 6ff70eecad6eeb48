package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// installation is a process under test, with real ports and a real store.
type installation struct {
	t    testing.TB
	app  *App
	file string
	log  *buffer
	said *buffer
}

// buffer collects what a process writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const ports = `
listen: "127.0.0.1:0"
admin: {listen: "127.0.0.1:0"}
`

// install starts a process with a configuration; ports and folder are added.
func install(t testing.TB, config string, roles ...Role) *installation {
	t.Helper()
	in := prepare(t, config, roles...)
	if err := in.app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.app.Stop)
	if in.app.edge != nil {
		in.until("the edge is ready", func() bool { return get(t, in.app.EdgeURL()+"/readyz").status == http.StatusOK })
	}
	return in
}

// prepare is install without the start.
func prepare(t testing.TB, config string, roles ...Role) *installation {
	t.Helper()
	in := &installation{t: t, file: filepath.Join(t.TempDir(), "fairlane.yaml"), log: &buffer{}, said: &buffer{}}
	in.write(config)
	a, err := New(Options{ConfigPath: in.file, Roles: roles, Env: noEnv, Stdout: in.said, Stderr: in.log})
	if err != nil {
		t.Fatal(err)
	}
	in.app = a
	return in
}

func noEnv(string) (string, bool) { return "", false }

// write replaces the configuration file as an editor does.
func (in *installation) write(config string) {
	in.t.Helper()
	text := ports + fmt.Sprintf("data_dir: %q\n", filepath.Join(filepath.Dir(in.file), "data")) + config
	fresh := in.file + ".new"
	if err := os.WriteFile(fresh, []byte(text), 0o600); err != nil {
		in.t.Fatal(err)
	}
	if err := os.Rename(fresh, in.file); err != nil {
		in.t.Fatal(err)
	}
}

// until polls for what real sockets bring about.
func (in *installation) until(what string, ok func() bool) {
	in.t.Helper()
	ctx, cancel := context.WithTimeout(in.t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			in.t.Fatalf("not in time: %s\n%s", what, in.log)
		case <-ticker.C:
		}
	}
}

// ready waits until the backends are known.
func (in *installation) ready() {
	in.t.Helper()
	in.until("the backend is up and the pool is led", func() bool {
		for _, p := range in.app.status().Pools {
			if !p.Leading || len(p.Backends) == 0 || !p.Backends[0].Up || p.Backends[0].Slots == 0 {
				return false
			}
		}
		return true
	})
}

// client keeps no connection, so that none outlives its test.
func client() *http.Client { return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} }

// answer is what a call got.
type answer struct {
	status int
	header http.Header
	body   string
}

// post sends JSON to the edge.
func (in *installation) post(path string, body any, header ...string) answer {
	in.t.Helper()
	resp, err := client().Do(request(in.t.Context(), in.t, in.app.EdgeURL()+path, body, header...))
	if err != nil {
		in.t.Fatal(err)
	}
	return read(in.t, resp)
}

// request is a call with JSON and pairs of header names and values.
func request(ctx context.Context, t testing.TB, url string, body any, header ...string) *http.Request {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

func read(t testing.TB, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func get(t testing.TB, url string) answer {
	t.Helper()
	resp, err := client().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, resp)
}

// metric is the value of a sample at /metrics, by its name and labels as they
// stand there; "": it is not there.
func (in *installation) metric(sample string) string {
	in.t.Helper()
	for line := range strings.Lines(get(in.t, in.app.MetricsURL()).body) {
		if v, ok := strings.CutPrefix(line, sample+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// lines are the log lines with a message.
func (in *installation) lines(msg string) []map[string]any {
	in.t.Helper()
	var out []map[string]any
	for line := range strings.Lines(in.log.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			in.t.Fatalf("the log has a line that is no JSON: %q", line)
		}
		if m["msg"] == msg {
			out = append(out, m)
		}
	}
	return out
}

// model is a backend that answers as a test wants.
type model struct {
	*httptest.Server
	chat func(w http.ResponseWriter, r *http.Request)
}

func newModel(t testing.TB, chat func(w http.ResponseWriter, r *http.Request)) *model {
	t.Helper()
	m := &model{chat: chat}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"m","object":"model","owned_by":"vllm","max_model_len":4096}]}`)
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) { m.chat(w, r) })
	m.Server = httptest.NewServer(mux)
	t.Cleanup(m.Close)
	return m
}

// pool is a pool with the model as its backend.
func (m *model) pool(slots int) string {
	return fmt.Sprintf("pools:\n  - name: main\n    backends: [{url: %q, slots: %d}]\n", m.URL, slots)
}

func chatOf(text string) map[string]any {
	return map[string]any{"messages": []any{map[string]string{"role": "user", "content": text}}, "max_tokens": 20}
}

func streamOf(text string) map[string]any {
	c := chatOf(text)
	c["stream"] = true
	return c
}

// whole answers a chat.
func whole(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":20,"total_tokens":21}}`)
}
