package worker

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// engine is a backend as a test wants it.
type engine struct {
	mu     sync.Mutex
	health http.HandlerFunc // nil: 200
	answer http.HandlerFunc
	seen   []string // what was asked beside the management side
	header http.Header
	active int // requests under way
}

func (e *engine) set(change func(e *engine)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(e)
}

func (e *engine) busy() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.active
}

func (e *engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	health := e.health
	e.mu.Unlock()
	switch r.URL.Path {
	case "/health":
		if health != nil {
			health(w, r)
		}
		return
	case "/v1/models":
		_, _ = io.WriteString(w, `{"data":[{"id":"m"}]}`)
		return
	case "/metrics":
		http.NotFound(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var answer http.HandlerFunc
	e.set(func(e *engine) {
		answer = e.answer
		e.active++
		e.seen = append(e.seen, r.Method+" "+r.URL.Path+" "+string(body))
		e.header = r.Header
	})
	defer e.set(func(e *engine) { e.active-- })
	answer(w, r)
}

// Answers of backends.
const (
	roleChunk   = `data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"
	textChunk   = `data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}` + "\n\n"
	finishChunk = `data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}` + "\n\n"
	usageChunk  = `data: {"choices":[],"usage":{"prompt_tokens":20,"total_tokens":25,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":8}},"system_fingerprint":"fp"}` + "\n\n"
	printed     = `data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"system_fingerprint":"fp"}` + "\n\n"
	engineDied  = `{"error": {"message": "EngineCore encountered an issue. See stack trace for the root cause.", "type": "InternalServerError", "param": null, "code": 500}}`
	done        = "data: [DONE]\n\n"
	completion  = `{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25}}`
)

// sse streams pieces, each flushed.
func sse(pieces ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		for _, p := range pieces {
			_, _ = io.WriteString(w, p)
			_ = http.NewResponseController(w).Flush()
		}
	}
}

// says answers whole.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// then does one after the other.
func then(hs ...http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, h := range hs {
			h(w, r)
		}
	}
}

func abort(http.ResponseWriter, *http.Request)       { panic(http.ErrAbortHandler) }
func silence(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
func after(d time.Duration) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
	}
}
