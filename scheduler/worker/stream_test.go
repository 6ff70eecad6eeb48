package worker

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fairlane/scheduler"
)

const opened = "head 200 of gpu:8000, attempt 1\n"

func TestAStreamPassesAsItIs(t *testing.T) {
	for _, tc := range []struct {
		name, endpoint string
		added          bool
		pieces         []string
		want           string
		usage          scheduler.Usage
		cost           float64
	}{
		{
			"usage that was asked for", "chat", false,
			[]string{roleChunk, textChunk, finishChunk, usageChunk, done},
			roleChunk + textChunk + finishChunk + usageChunk + done,
			scheduler.Usage{Input: 20, Cached: 8, Output: 5, Known: true, CachedKnown: true},
			12 + 0.8 + 10,
		},
		{
			"usage that we asked for", "chat", true,
			[]string{roleChunk, textChunk, finishChunk, usageChunk, done},
			roleChunk + textChunk + printed + done,
			scheduler.Usage{Input: 20, Cached: 8, Output: 5, Known: true, CachedKnown: true},
			12 + 0.8 + 10,
		},
		{
			"an event key", "chat", false,
			[]string{`data: {"event":"evil","choices":[]}` + "\n\n", done},
			`data: {"choices":[]}` + "\n\n" + done,
			scheduler.Usage{Input: 12},
			9 + 0.3, // of what the queue expected
		},
		{
			"in pieces", "completions", true, []string{"da", "ta: [DO", "NE]\n", "\n"}, done, scheduler.Usage{Input: 12}, 9 + 0.3,
		},
		{
			"comments", "chat", false, []string{": keep-alive\n\n", textChunk + done}, ": keep-alive\n\n" + textChunk + done, scheduler.Usage{Input: 12, Output: 1}, 9 + 0.3 + 2,
		},
		{
			"without the last blank line", "chat", false, []string{textChunk, "data: [DONE]"}, textChunk + done, scheduler.Usage{Input: 12, Output: 1}, 9 + 0.3 + 2,
		},
		{
			"cached tokens that nobody reports", "chat", false,
			[]string{`data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":0}}` + "\n\n" + done},
			`data: {"choices":[],"usage":{"prompt_tokens":2,"completion_tokens":0}}` + "\n\n" + done,
			scheduler.Usage{Input: 2, Known: true},
			1, // three cached tokens were expected, and nothing costs less than 1
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				h.proxy.shake = func(ctx context.Context, hs scheduler.Handshake) (*scheduler.Handover, error) {
					over, err := goAhead(ctx, hs)
					over.AddedUsage = tc.added
					return over, err
				}
				ev, story := h.serve(sse(tc.pieces...), func(g *scheduler.Grant) { g.Entry.Endpoint = tc.endpoint })
				if diff := cmp.Diff(opened+"data "+tc.want+"\nend completed", story); diff != "" {
					t.Error(diff)
				}
				if ev.Kind != scheduler.EventEnd || ev.Outcome != scheduler.Completed || !ev.Sent || ev.Died || ev.Generated != ev.Usage.Output || ev.Fence != h.grants[0].Fence {
					t.Errorf("got %+v", ev)
				}
				if diff := cmp.Diff(tc.usage, ev.Usage); diff != "" {
					t.Error(diff)
				}
				end := h.proxy.ending(ev.Fence)
				if diff := cmp.Diff(&scheduler.End{Usage: tc.usage, Outcome: scheduler.Completed, Cost: tc.cost}, end); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// However the network cuts it, the same bytes come out.
func TestAStreamIsByteExactHoweverItIsCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var in strings.Builder
		in.WriteString(roleChunk)
		for i := range rapid.IntRange(0, 30).Draw(rt, "events") {
			fmt.Fprintf(&in, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", strings.Repeat("ü", rapid.IntRange(0, 900).Draw(rt, "length"))+strconv.Itoa(i))
		}
		in.WriteString(finishChunk)
		want := in.String()
		in.WriteString(usageChunk)
		in.WriteString(done)
		want = strings.Replace(want, finishChunk, printed, 1) + done
		var pieces []string
		for rest := in.String(); rest != ""; {
			n := min(len(rest), rapid.IntRange(1, 3000).Draw(rt, "piece"))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		var story string
		synctest.Test(t, func(t *testing.T) {
			h := build(t, nil)
			h.proxy.shake = func(context.Context, scheduler.Handshake) (*scheduler.Handover, error) {
				return &scheduler.Handover{Verdict: scheduler.Go, AddedUsage: true}, nil
			}
			_, story = h.serve(sse(pieces...), nil)
		})
		if diff := cmp.Diff(opened+"data "+want+"\nend completed", story); diff != "" {
			rt.Fatal(diff)
		}
	})
}

func TestTheBackendGetsWhatTheProxyHandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.serve(sse(done), func(g *scheduler.Grant) { g.Entry.ID = "abc" })
		if diff := cmp.Diff([]string{`POST /v1/chat/completions {"prompt":1}`}, h.engine.seen); diff != "" {
			t.Error(diff)
		}
		want := http.Header{
			"Authorization": {"Bearer secret"}, "Content-Type": {"application/json"}, "X-Request-Id": {"abc-1.2.29"}, "X-Vllm-Priority": {"2"},
			"Content-Length": {"12"}, "User-Agent": {"Go-http-client/1.1"},
		}
		if diff := cmp.Diff(want, h.engine.header); diff != "" {
			t.Error(diff)
		}
		h.serve(sse(done), func(g *scheduler.Grant) { g.EnginePriority = -1 })
		if v, ok := h.engine.header["X-Vllm-Priority"]; ok {
			t.Errorf("a priority of %q that nobody set", v)
		}
	})
}

func TestTheNumberOfTheAttemptIsOfTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		_, story := h.serve(sse(done), func(g *scheduler.Grant) { g.Try = 3 })
		if !strings.HasPrefix(story, "head 200 of gpu:8000, attempt 3\n") {
			t.Error(story)
		}
	})
}

func TestFirstByteAndProgressAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		pause := after(1010 * time.Millisecond)
		ev, _ := h.serve(then(pause, sse(roleChunk), pause, sse(textChunk), pause, sse(textChunk, textChunk), pause, sse(done)), nil)
		if ev.Usage.Output != 3 || ev.Usage.Known {
			t.Errorf("got %+v", ev)
		}
		first := h.leader.told(scheduler.EventFirstByte)
		if len(first) != 1 || first[0].TTFT != 2020*time.Millisecond || !first[0].Sent || first[0].Backend != gpu {
			t.Errorf("first byte: %+v", first)
		}
		var generated []int
		for _, ev := range h.leader.told(scheduler.EventProgress) {
			generated = append(generated, ev.Generated)
		}
		if diff := cmp.Diff([]int{1, 3}, generated); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAStreamThatDoesNotEndWellIsAnError(t *testing.T) {
	for _, tc := range []struct {
		name, endpoint string
		answer         http.HandlerFunc
		want           string
		died           bool
	}{
		{"no [DONE]", "chat", sse(textChunk), "data " + textChunk + "\nerr backend_failed failed", false},
		{"cut in an event", "chat", sse(textChunk, `data: {"choi`), "data " + textChunk + "\nerr backend_failed failed", false},
		{"the connection breaks", "chat", then(sse(textChunk), abort), "data " + textChunk + "\nerr backend_failed failed", false},
		{"no message_stop", "messages", sse("event: message_start\ndata: {\"type\":\"message_start\"}\n\n"), "data event: message_start\ndata: {\"type\":\"message_start\"}\n\n\nerr backend_failed failed", false},
		{"the backend's own error passes", "chat", sse(textChunk, `data: {"error":{"message":"no"}}`+"\n\n", done), "data " + textChunk + `data: {"error":{"message":"no"}}` + "\n\n" + done + "\nend failed", false},
		{"its error, and then it breaks", "chat", then(sse(textChunk, `data: {"error":{"message":"no"}}`+"\n\n"), abort), "data " + textChunk + `data: {"error":{"message":"no"}}` + "\n\n" + "\nend failed", false},
		{"no events at all", "chat", sse("<html>\n\n"), "data <html>\n\n\nerr backend_failed failed", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := build(t, nil)
				ev, story := h.serve(tc.answer, func(g *scheduler.Grant) { g.Entry.Endpoint = tc.endpoint })
				if diff := cmp.Diff(opened+tc.want, story); diff != "" {
					t.Error(diff)
				}
				if ev.Kind != scheduler.EventEnd || ev.Outcome != scheduler.Failed || ev.Died != tc.died || !ev.Sent || ev.Answered != strings.HasSuffix(tc.want, "end failed") {
					t.Errorf("got %+v", ev)
				}
				if end := h.proxy.ending(ev.Fence); end.Usage != ev.Usage || end.Cost < 9.3 {
					t.Errorf("the proxy was told %+v, the dispatcher %+v", end, ev.Usage)
				}
			})
		})
	}
}

func TestABackendThatDiesInAStream(t *testing.T) {
	for name, last := range map[string]string{"": "err backend_failed failed", "data: " + engineDied + "\n\n" + done: "end failed"} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, nil)
			h.engine.answer = then(sse(textChunk), after(time.Second), sse(name), func(http.ResponseWriter, *http.Request) { h.net.Die() })
			g := h.grant(nil)
			ev := <-h.leader.ended
			if ev.Kind != scheduler.EventEnd || ev.Outcome != scheduler.Failed || !ev.Died || ev.Answered {
				t.Errorf("got %+v", ev)
			}
			if story := h.proxy.story(g.Fence); !strings.HasSuffix(story, "\n"+last) {
				t.Error(story)
			}
			if h.fleet.Statuses("main")[0].Up {
				t.Error("nobody looked")
			}
		})
	}
}

// The client hears of a broken answer before the backend has been asked how it is.
func TestAClientDoesNotWaitForTheLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		var told time.Duration
		began := time.Now()
		h.proxy.take = func(f *scheduler.Frame) error {
			if f.Type == scheduler.FrameErr {
				told = time.Since(began)
			}
			return nil
		}
		slow := func(http.ResponseWriter, *http.Request) { h.engine.set(func(e *engine) { e.health = silence }) }
		h.serve(then(sse(textChunk), slow, abort), nil)
		if told != 0 || time.Since(began) == 0 {
			t.Errorf("told after %v of %v", told, time.Since(began))
		}
	})
}

// Some servers keep the connection open behind the end, and alive.
func TestTheEndOfTheAnswerIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		began := time.Now()
		ev, story := h.serve(then(sse(textChunk+done), after(600*time.Millisecond), sse(": bye\n\n"), after(600*time.Millisecond), sse(": bye\n\n"), silence), nil)
		if diff := cmp.Diff(opened+"data "+textChunk+done+": bye\n\n\nend completed", story); diff != "" {
			t.Error(diff)
		}
		if ev.Outcome != scheduler.Completed || time.Since(began) != linger {
			t.Errorf("got %+v after %v", ev, time.Since(began))
		}
	})
}

// A client that hangs up as soon as it read [DONE] had its answer.
func TestACancelBehindTheEndIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		h.engine.answer = then(sse(usageChunk+done), silence)
		g := h.grant(nil)
		synctest.Wait()
		if err := h.w.Cancel(t.Context(), g.Entry.ID, g.Fence); err != nil {
			t.Error(err)
		}
		if ev := <-h.leader.ended; ev.Outcome != scheduler.Completed || ev.Usage.Output != 5 {
			t.Errorf("got %+v", ev)
		}
	})
}

func TestALongEventIsCutIntoFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		long := fmt.Sprintf("data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", strings.Repeat("x", 3*maxFrame))
		_, story := h.serve(sse(long, done), nil)
		if story != opened+"data "+long+done+"\nend completed" {
			t.Error("the bytes are not the same")
		}
		for _, f := range h.proxy.frames[h.grants[0].Fence] {
			if len(f.Data) > maxFrame {
				t.Errorf("a frame of %d bytes", len(f.Data))
			}
		}
	})
}

// What a frame holds belongs to the proxy: it may not change under its hands.
func TestFramesOwnTheirData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		var kept, copies [][]byte
		h.proxy.take = func(f *scheduler.Frame) error {
			kept, copies = append(kept, f.Data), append(copies, bytes.Clone(f.Data))
			return nil
		}
		var pieces []string
		for i := range 50 {
			pieces = append(pieces, strings.Replace(textChunk, "hi", "hi "+strconv.Itoa(i), 1))
		}
		h.serve(sse(append(pieces, done)...), nil)
		if diff := cmp.Diff(copies, kept); diff != "" {
			t.Error(diff)
		}
	})
}

func TestASilentAttemptBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		_, story := h.serve(then(after(2500*time.Millisecond), sse(textChunk), after(2*time.Second), sse(done)), nil)
		if !strings.HasPrefix(story, "beat\n") || strings.Count(story, "beat") < 3 || !strings.HasSuffix(story, "end completed") {
			t.Error(story)
		}
	})
}

// A blip of the network takes beats, or a frame: what follows has no gap.
func TestWhatIsLostLeavesNoGap(t *testing.T) {
	for lost, want := range map[scheduler.FrameType]string{scheduler.FrameBeat: "end completed", scheduler.FrameData: "err answer_lost lost"} {
		synctest.Test(t, func(t *testing.T) {
			h := build(t, nil)
			h.proxy.take = func(f *scheduler.Frame) error {
				if f.Type == lost {
					return scheduler.ErrNoResponder
				}
				return nil
			}
			_, story := h.serve(then(after(2500*time.Millisecond), sse(textChunk), after(2500*time.Millisecond), sse(done)), nil)
			if !strings.HasSuffix(story, want) || strings.Count(story, "beat") < 2 {
				t.Error(story)
			}
		})
	}
}

// Of an attempt that is silent its proxy hears at least every second and a half, so
// that it may miss one beat.
func TestASilentAttemptBeatsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := build(t, nil)
		last, longest := time.Now(), time.Duration(0)
		h.proxy.take = func(*scheduler.Frame) error {
			longest, last = max(longest, time.Since(last)), time.Now()
			return nil
		}
		h.serve(then(after(time.Millisecond), sse(textChunk), after(4600*time.Millisecond), sse(textChunk), after(4900*time.Millisecond), sse(done)), nil)
		if longest > 1500*time.Millisecond {
			t.Errorf("nothing for %s", longest)
		}
	})
}
