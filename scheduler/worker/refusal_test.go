package worker

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"fairlane/scheduler"
)

// The client hears what the backend says of its own error, and not where it is.
func TestTheReasonOfAnErrorIsTold(t *testing.T) {
	long := strings.Repeat("ä", 300)
	for _, tc := range []struct {
		name, body, want string
	}{
		{"OpenAI's", `{"error":{"message":"list index out of range","type":"InternalServerError","code":500}}`, ": list index out of range"},
		{"Anthropic's", `{"type":"error","error":{"type":"InternalServerError","message":"no template"}}`, ": no template"},
		{"of several lines", `{"error":{"message":" a\n\tb\u0000\r\n c"}}`, ": a b\x00 c"},
		{"long", `{"error":{"message":"` + long + `"}}`, ": " + long[:2*199] + "…"},
		{"with an address", `{"error":{"message":"gpu:8000 refused, ask gpu:8000"}}`, ": the model server refused, ask the model server"},
		{"none", `{"error":{}}`, ""},
		{"no object", `{"error":"Unauthorized"}`, ""},
		{"a page", `<html>gpu:8000</html>`, ""},
		{"an object, and something behind it", `{"error":{"message":"no"}} no`, ""},
		{"nothing", ``, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &bytes.Buffer{}
				h := build(t, func(c *Config) {
					c.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
				})
				ev, _ := h.serve(says(500, tc.body), whole)
				if got, want := ev.Problem.Message, "the model server failed: it answered 500"+tc.want; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
				synctest.Wait()
				if s := log.String(); !strings.Contains(s, "backend=http://gpu:8000") || tc.want != "" && strings.Contains(s, strings.TrimPrefix(tc.want, ": ")) {
					t.Errorf("logged %q", s)
				}
			})
		})
	}
}

// What the backend refuses is its own word, whatever it looks like: the edge knows
// the API that was called.
func TestA4xxPassesAsItIs(t *testing.T) {
	for _, tc := range []struct{ contentType, body string }{
		{"application/json", `{"detail":"Not Found"}`},
		{"application/json", `{"error":{"message":"no"}}`},
		{"text/html", "<html>404</html>"},
		{"", ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, nil)
			ev, story := h.serve(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.contentType)
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, tc.body)
			}, whole)
			want := "head 404 of gpu:8000, attempt 1\ndata " + tc.body + "\nend invalid"
			if tc.body == "" {
				want = "head 404 of gpu:8000, attempt 1\nend invalid"
			}
			if story != want || ev.Kind != scheduler.EventEnd || ev.Outcome != scheduler.Invalid {
				t.Errorf("got %+v, %s", ev, story)
			}
		})
	}
}

// A status that is no answer is told by its number.
func TestAStatusThatIsNoAnswerIsNamed(t *testing.T) {
	for _, path := range []string{"/v1/chat/completions", "/v1/audio/transcriptions"} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, nil)
			ev, _ := h.serve(says(307, ``), func(g *scheduler.Grant) { g.Entry.Stream, g.Entry.Path = false, path })
			if p := ev.Problem; p == nil || p.Code != scheduler.CodeBackendFailed || !strings.Contains(p.Message, "307") {
				t.Errorf("told %v", p)
			}
		})
	}
}

func TestNoMessageTellsWhereTheBackendIs(t *testing.T) {
	for name, tc := range map[string]struct {
		dead   bool
		answer []string // of a stream that then goes silent; nil: nothing
	}{
		"no first byte": {},
		"away":          {dead: true},
		"goes silent":   {answer: []string{textChunk}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				if tc.dead {
					h.net.Die()
				}
				answer := silence
				if tc.answer != nil {
					answer = then(sse(tc.answer...), silence)
				}
				ev, _ := h.serve(answer, nil)
				p := ev.Problem
				h.proxy.set(func(px *proxy) {
					for _, f := range px.frames[ev.Fence] {
						if f.Type == scheduler.FrameErr {
							p = f.Problem
						}
					}
				})
				if p == nil || strings.Contains(p.Message, "gpu") {
					t.Errorf("told %v", p)
				}
			})
		})
	}
}
