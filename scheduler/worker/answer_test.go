package worker

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
)

// typed answers with a content type of its own.
func typed(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

func TestAnAnswerThatIsWhole(t *testing.T) {
	for _, tc := range []struct {
		name, path, endpoint string
		answer               http.HandlerFunc
		want                 string
		usage                scheduler.Usage
		outcome              scheduler.Outcome
		cost                 float64
	}{
		{
			"a completion", "/v1/chat/completions", "chat", says(200, completion), "head 200 of gpu:8000, attempt 1\ndata " + completion + "\nend completed",
			scheduler.Usage{Input: 20, Output: 5, Known: true},
			scheduler.Completed, 17 + 0.3 + 10,
		},
		{
			"without usage", "/v1/chat/completions", "chat", says(200, `{"choices":[{"message":{"content":"twenty bytes of text"}}]}`),
			"head 200 of gpu:8000, attempt 1\ndata {\"choices\":[{\"message\":{\"content\":\"twenty bytes of text\"}}]}\nend completed",
			scheduler.Usage{Input: 12, Output: 5},
			scheduler.Completed, 9 + 0.3 + 10,
		},
		{
			"with a usage of nothing", "/v1/completions", "completions", says(200, `{"choices":[{"text":"nine byte"}],"usage":{"prompt_tokens":0,"completion_tokens":0}}`),
			"head 200 of gpu:8000, attempt 1\ndata {\"choices\":[{\"text\":\"nine byte\"}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\nend completed",
			scheduler.Usage{Input: 12, Output: 3, Known: true},
			scheduler.Completed, 9 + 0.3 + 6,
		},
		{
			"with a usage of nonsense", "/v1/chat/completions", "chat", says(200, `{"choices":[{"message":{"content":"four"}}],"usage":{"prompt_tokens":-5,"completion_tokens":1000000000000000}}`),
			"head 200 of gpu:8000, attempt 1\ndata {\"choices\":[{\"message\":{\"content\":\"four\"}}],\"usage\":{\"prompt_tokens\":-5,\"completion_tokens\":1000000000000000}}\nend completed",
			scheduler.Usage{Input: 12, Output: 1},
			scheduler.Completed, 9 + 0.3 + 2,
		},
		{
			"documents that were ranked", "/rerank", "rerank", says(200, `{"results":[{"document":{"text":"nobody generated this"}}],"usage":{"total_tokens":30}}`),
			"head 200 of gpu:8000, attempt 1\ndata {\"results\":[{\"document\":{\"text\":\"nobody generated this\"}}],\"usage\":{\"total_tokens\":30}}\nend completed",
			scheduler.Usage{Input: 30, Known: true},
			scheduler.Completed, 27 + 0.3,
		},
		{
			"the backend's 400", "/v1/chat/completions", "chat", says(400, `{"error":{"code":400}}`), "head 400 of gpu:8000, attempt 1\ndata {\"error\":{\"code\":400}}\nend invalid",
			scheduler.Usage{Input: 12},
			scheduler.Invalid, 1,
		},
		{
			"its 501", "/v1/chat/completions", "chat", says(501, ``), "head 501 of gpu:8000, attempt 1\nend invalid",
			scheduler.Usage{Input: 12},
			scheduler.Invalid, 1,
		},
		{
			"an error in a stream's place", "/v1/chat/completions", "chat", says(404, `{"error":{}}`), "head 404 of gpu:8000, attempt 1\ndata {\"error\":{}}\nend invalid",
			scheduler.Usage{Input: 12},
			scheduler.Invalid, 1,
		},
		{
			"a list", "/rerank", "rerank", says(200, " [1]\n"), "head 200 of gpu:8000, attempt 1\ndata  [1]\n\nend completed",
			scheduler.Usage{Input: 12},
			scheduler.Completed, 9 + 0.3,
		},
		{
			"a text of audio", "/v1/audio/transcriptions", "transcriptions", typed("text/plain", "WEBVTT"), "head 200 of gpu:8000, attempt 1\ndata WEBVTT\nend completed",
			scheduler.Usage{Input: 12},
			scheduler.Completed, 9 + 0.3,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				ev, story := h.serve(tc.answer, func(g *scheduler.Grant) {
					g.Entry.Stream, g.Entry.Path, g.Entry.Endpoint = false, tc.path, tc.endpoint
				})
				if diff := cmp.Diff(tc.want, story); diff != "" {
					t.Error(diff)
				}
				if ev.Kind != scheduler.EventEnd || ev.Outcome != tc.outcome || !ev.Sent {
					t.Errorf("got %+v", ev)
				}
				if diff := cmp.Diff(&scheduler.End{Usage: tc.usage, Outcome: tc.outcome, Cost: tc.cost}, h.proxy.ending(ev.Fence)); diff != "" || ev.Usage != tc.usage {
					t.Errorf("%s, %+v", diff, ev.Usage)
				}
			})
		})
	}
}

func TestTheCostIsOfThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, func(c *Config) {
			c.Pools = map[string]Pool{"main": {Cost: scheduler.CostWeights{Input: 2, Cached: 1, Output: 3}}}
		})
		ev, _ := h.serve(says(200, completion), whole)
		if got := h.proxy.ending(ev.Fence).Cost; got != 2*17+3+15 {
			t.Errorf("got %v", got)
		}
	})
}

func TestUsageAtTheEndOfAHugeAnswerIsFound(t *testing.T) {
	const usage = `],"usage":{"prompt_tokens":70,"total_tokens":70}}`
	for _, size := range []int{maxWhole - 1, maxWhole, maxWhole + 1, maxWhole + maxFrame, maxWhole + maxFrame + 20, maxWhole + 3*maxFrame - 5} {
		t.Run(strconv.Itoa(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				body := `{"data":[` + strings.Repeat("1", size-len(`{"data":[`)-len(usage)) + usage
				ev, story := h.serve(says(200, body), func(g *scheduler.Grant) { g.Entry.Stream, g.Entry.Endpoint = false, "embeddings" })
				if story != "head 200 of gpu:8000, attempt 1\ndata "+body+"\nend completed" {
					t.Error("the bytes are not the same")
				}
				if ev.Usage != (scheduler.Usage{Input: 70, Known: true}) {
					t.Errorf("got %+v", ev.Usage)
				}
			})
		})
	}
}

func TestAHugeAnswerThatBreaksIsNotWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		ev, story := h.serve(then(says(200, "{"+strings.Repeat("1", maxWhole+1000)), abort), whole)
		if !strings.HasSuffix(story, "\nerr backend_failed failed") || ev.Outcome != scheduler.Failed {
			t.Errorf("got %+v", ev)
		}
	})
}

// fault is what matters of an attempt that may be repeated.
type fault struct {
	Kind                                 scheduler.EventKind
	Sent, Died, Refused, Final, Answered bool
	Code                                 scheduler.Code
}

func faultOf(ev scheduler.Event) fault {
	f := fault{Kind: ev.Kind, Sent: ev.Sent, Died: ev.Died, Refused: ev.Refused, Final: ev.Final, Answered: ev.Answered}
	if ev.Problem != nil {
		f.Code = ev.Problem.Code
	}
	return f
}

func TestWhatGoesWrongBeforeTheFirstByte(t *testing.T) {
	again := fault{Kind: scheduler.EventFault, Sent: true, Code: scheduler.CodeBackendFailed}
	died := again
	died.Died = true
	answered := again
	answered.Answered = true
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		health int // from then on
		want   fault
	}{
		{"500", says(500, `{"error":{}}`), 0, answered},
		{"a long 500", says(500, `{"error":{"message":"`+strings.Repeat("x", 2*maxErrors)+`"}}`), 0, answered},
		{"a 500 of somebody between", says(500, "Internal Server Error"), 0, again},
		{"much of nothing", says(500, strings.Repeat(" ", maxErrors)), 0, again},
		{"502 of somebody between", says(502, "<html>"), 0, again},
		{"a dead engine", says(500, engineDied), 503, died},
		{"a dead engine whose health is late", says(500, engineDied), 0, died},
		{"its own queue is full", says(503, `{"error":{"message":"The engine is currently busy"}}`), 0, fault{Kind: scheduler.EventBusy}},
		{"a 503 of one that is down", says(503, ``), 503, fault{Kind: scheduler.EventFault, Refused: true, Code: scheduler.CodeBackendFailed}},
		{"401", says(401, `{"error":"Unauthorized"}`), 0, fault{Kind: scheduler.EventFault, Code: scheduler.CodeBackendFailed}},
		{"403", says(403, ``), 0, fault{Kind: scheduler.EventFault, Code: scheduler.CodeBackendFailed}},
		{"a redirect", says(307, ``), 0, again},
		{"201", says(201, completion), 0, again},
		{"204", says(204, ``), 0, again},
		{"206", says(206, completion), 0, again},
		{"a stream of another status", then(says(203, ""), sse(textChunk, done)), 0, again},
		{"no JSON", typed("text/html", "<html>no</html>"), 0, again},
		{"half of it", says(200, `{"choices":[`), 0, again},
		{"nothing", says(200, ``), 0, again},
		{"an empty stream", sse(), 0, again},
		{"a part of an event", sse(`data: {"cho`), 0, again},
		{"it breaks before its headers", then(after(500*time.Millisecond), abort), 0, again},
		{"it breaks in the middle of an answer", then(says(200, `{"choices":`), after(500*time.Millisecond), abort), 0, again},
		{"an error breaks in the middle", then(says(500, strings.Repeat("x", 5000)), after(500*time.Millisecond), abort), 0, again},
		{"it breaks, and is not well", then(after(500*time.Millisecond), abort), 503, died},
	} {
		for _, streaming := range []bool{false, true} {
			t.Run(tc.name+" "+strconv.FormatBool(streaming), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := build(t, nil)
					ev, story := h.serve(func(w http.ResponseWriter, r *http.Request) {
						if tc.health != 0 {
							h.engine.set(func(e *engine) {
								e.health = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tc.health) }
							})
						}
						tc.answer(w, r)
					}, func(g *scheduler.Grant) { g.Entry.Stream = streaming })
					if diff := cmp.Diff(tc.want, faultOf(ev)); diff != "" {
						t.Error(diff)
					}
					if story != "" {
						t.Errorf("the proxy heard of it: %s", story)
					}
					if p := ev.Problem; p != nil && strings.Contains(p.Message, "gpu") {
						t.Errorf("it says %q", p.Message)
					}
				})
			})
		}
	}
}

// warm leaves a connection that is kept.
func warm(h *house) {
	h.t.Helper()
	if ev, _ := h.serve(says(200, completion), whole); ev.Outcome != scheduler.Completed {
		h.t.Fatalf("got %+v", ev)
	}
}

func TestABackendThatIsKilledWithARequestHasDied(t *testing.T) {
	for _, streaming := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, nil)
			warm(h)
			h.engine.answer = silence
			h.grant(func(g *scheduler.Grant) { g.Entry.Stream = streaming })
			<-time.After(3 * time.Second)
			h.net.Die()
			want := fault{Kind: scheduler.EventFault, Sent: true, Died: true, Code: scheduler.CodeBackendFailed}
			if diff := cmp.Diff(want, faultOf(<-h.leader.ended)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestABackendThatIsAwayHadNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.net.Die()
		ev, story := h.serve(nil, nil)
		if diff := cmp.Diff(fault{Kind: scheduler.EventFault, Refused: true, Code: scheduler.CodeBackendFailed}, faultOf(ev)); diff != "" || story != "" {
			t.Error(diff, story)
		}
		if h.leader.beat().Backends[0].Up {
			t.Error("the dispatcher was not told that it is down")
		}
	})
}

// A backend that closes connections which nobody uses, or that restarts, has
// not died of the request that met one of them.
func TestAConnectionThatWasClosedIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		warm(h)
		calls := 0
		ev, story := h.serve(func(w http.ResponseWriter, r *http.Request) {
			if calls++; calls == 1 {
				panic(http.ErrAbortHandler) // as if it had been closed just before
			}
			sse(done)(w, r)
		}, nil)
		if ev.Outcome != scheduler.Completed || story != opened+"data "+done+"\nend completed" {
			t.Errorf("got %+v, %s", ev, story)
		}

		h.engine.answer = func(http.ResponseWriter, *http.Request) { h.net.Die() }
		h.grant(nil)
		if diff := cmp.Diff(fault{Kind: scheduler.EventFault, Sent: true, Code: scheduler.CodeBackendFailed}, faultOf(<-h.leader.ended)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTimeouts(t *testing.T) {
	var hung atomic.Bool // the backend's /health
	late := fault{Kind: scheduler.EventFault, Sent: true, Final: true, Code: scheduler.CodeBackendTimeout}
	headers := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
	}
	for _, tc := range []struct {
		name   string
		stream bool
		answer http.HandlerFunc
		took   time.Duration
		want   fault
		story  string
	}{
		{"no headers", true, silence, 10 * time.Second, late, ""},
		{"headers at once, and then nothing", true, then(headers, silence), 10 * time.Second, late, ""},
		{"the first byte just in time", true, then(headers, after(9*time.Second), sse(textChunk), after(4*time.Second), sse(done)), 13 * time.Second, fault{Kind: scheduler.EventEnd, Sent: true}, "end completed"},
		{"half an event, and then nothing", true, then(sse("data: "), silence), 5 * time.Second, late, ""},
		{"silence in the middle", true, then(sse(textChunk), silence), 5 * time.Second, fault{Kind: scheduler.EventEnd, Sent: true}, "err backend_timeout failed"},
		{"silence of one that is not well either", true, func(w http.ResponseWriter, r *http.Request) {
			hung.Store(true)
			then(sse(textChunk), silence)(w, r)
		}, 5 * time.Second, fault{Kind: scheduler.EventEnd, Sent: true}, "err backend_timeout failed"},
		{"slow, but never silent", true, func(w http.ResponseWriter, r *http.Request) {
			for range 10 {
				then(sse(textChunk), after(4*time.Second))(w, r)
			}
			sse(done)(w, r)
		}, 40 * time.Second, fault{Kind: scheduler.EventEnd, Sent: true}, "end completed"},
		{"too long", true, func(w http.ResponseWriter, r *http.Request) {
			for range 20 {
				then(sse(textChunk), after(4*time.Second))(w, r)
			}
		}, time.Minute, fault{Kind: scheduler.EventEnd, Sent: true, Answered: true}, "err backend_timeout failed"},
		{"a whole answer has time", false, then(after(50*time.Second), says(200, completion)), 50 * time.Second, fault{Kind: scheduler.EventEnd, Sent: true}, "end completed"},
		{"but not for ever", false, silence, time.Minute, late, ""},
		{"nor in its middle", false, then(says(200, "{"), silence), time.Minute, late, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				hung.Store(false)
				h.engine.set(func(e *engine) {
					e.health = func(w http.ResponseWriter, r *http.Request) {
						if hung.Load() {
							silence(w, r)
						}
					}
				})
				began := time.Now()
				ev, story := h.serve(tc.answer, func(g *scheduler.Grant) { g.Entry.Stream = tc.stream })
				if diff := cmp.Diff(tc.want, faultOf(ev)); diff != "" {
					t.Error(diff)
				}
				story = strings.ReplaceAll(strings.ReplaceAll(story, "beat\n", ""), "beat", "")
				if !strings.HasSuffix(story, tc.story) || tc.story == "" && story != "" {
					t.Error(story)
				}
				if d := time.Since(began); d != tc.took {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}
