package worker

import (
	"bytes"
	"log/slog"
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
					h.net.die()
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
