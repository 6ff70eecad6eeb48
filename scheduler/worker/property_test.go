package worker

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"fairlane/scheduler"
)

// plan is what happens to one attempt.
type plan struct {
	name     string // of what the backend does
	answer   http.HandlerFunc
	shake    scheduler.Verdict // empty: no proxy
	stream   bool
	at       time.Duration // of the grant
	cancel   time.Duration // after the grant; 0: never
	deafFrom int           // frame from which the proxy has no ear; -1: never
	deaf     error
}

func behaviours() map[string]http.HandlerFunc {
	second := after(time.Second)
	return map[string]http.HandlerFunc{
		"stream":                sse(roleChunk, textChunk, finishChunk, usageChunk, done),
		"slow stream":           then(second, sse(roleChunk), second, sse(textChunk), second, sse(usageChunk, done)),
		"whole":                 says(200, completion),
		"slow whole":            then(second, says(200, completion)),
		"refusal":               says(400, `{"error":{}}`),
		"credential":            says(401, ``),
		"error":                 says(500, `{}`),
		"busy":                  says(503, `{}`),
		"dead engine":           says(500, engineDied),
		"garbage":               says(200, `<html>`),
		"nothing":               says(200, ``),
		"no done":               sse(textChunk),
		"half an event":         sse(textChunk, "data: {"),
		"error event":           sse(textChunk, "data: "+engineDied+"\n\n", done),
		"break":                 abort,
		"late break":            then(second, abort),
		"break in a stream":     then(sse(textChunk), second, abort),
		"break in an answer":    then(says(200, "{"), second, abort),
		"silence":               silence,
		"silence in a stream":   then(sse(textChunk), silence),
		"silence in an event":   then(sse("data: "), silence),
		"silence behind [DONE]": then(sse(textChunk, done), silence),
	}
}

func drawPlan(rt *rapid.T) plan {
	all := behaviours()
	p := plan{name: rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(rt, "backend"), deafFrom: -1}
	p.answer = all[p.name]
	p.shake = rapid.SampledFrom([]scheduler.Verdict{scheduler.Go, scheduler.Go, scheduler.Go, scheduler.Go, scheduler.Go, scheduler.Stale, scheduler.Gone, ""}).Draw(rt, "verdict")
	p.stream = rapid.Bool().Draw(rt, "stream")
	p.at = time.Duration(rapid.IntRange(0, 3000).Draw(rt, "at")) * time.Millisecond
	if rapid.IntRange(0, 2).Draw(rt, "cancels") == 0 {
		p.cancel = time.Duration(rapid.IntRange(1, 4000).Draw(rt, "cancel")) * time.Millisecond
	}
	if rapid.IntRange(0, 3).Draw(rt, "deafens") == 0 {
		p.deafFrom = rapid.IntRange(0, 5).Draw(rt, "deaf")
		p.deaf = rapid.SampledFrom([]error{scheduler.ErrUnknownCall, scheduler.ErrNoResponder}).Draw(rt, "why")
	}
	return p
}

// world is what happens to all of them.
type world struct {
	plans         []plan
	dies          time.Duration // the backend's process; 0: never
	leaderless    time.Duration // from 1 s on
	proxyDies     time.Duration // 0: never
	drains, stops time.Duration
}

func drawWorld(rt *rapid.T) world {
	w := world{plans: rapid.SliceOfN(rapid.Custom(drawPlan), 1, 6).Draw(rt, "plans")}
	sometimes := func(what string) time.Duration {
		if rapid.IntRange(0, 3).Draw(rt, what+"?") > 0 {
			return 0
		}
		return time.Duration(rapid.IntRange(1, 5000).Draw(rt, what)) * time.Millisecond
	}
	w.dies, w.leaderless, w.proxyDies, w.drains, w.stops = sometimes("dies"), sometimes("leaderless"), sometimes("proxy dies"), sometimes("drains"), sometimes("stops")
	return w
}

// Whatever the backend, the client, the proxy and the leader do: an attempt that
// was taken ends in one event, which fits what the proxy heard.
func TestEveryAttemptEndsOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := drawWorld(rt)
		var complaint string
		synctest.Test(t, func(t *testing.T) { complaint = play(t, w) })
		if complaint != "" {
			rt.Fatal(complaint)
		}
	})
}

func play(t *testing.T, w world) (complaint string) {
	t.Helper()
	h := build(t, func(c *Config) {
		c.Pools = map[string]Pool{"main": {FirstByte: 4 * time.Second, Idle: 2 * time.Second, Total: 8 * time.Second}}
	})
	h.engine.answer = func(rw http.ResponseWriter, r *http.Request) {
		var n int
		if _, err := fmt.Sscanf(r.Header.Get("X-Request-Id"), "p%d-", &n); err != nil {
			t.Error(err)
		}
		w.plans[n].answer(rw, r)
	}
	plans := map[string]plan{}
	h.proxy.shake = func(_ context.Context, hs scheduler.Handshake) (*scheduler.Handover, error) {
		h.proxy.mu.Lock()
		defer h.proxy.mu.Unlock()
		if v := plans[hs.ID].shake; v != "" {
			return &scheduler.Handover{Verdict: v, AddedUsage: true}, nil
		}
		return nil, scheduler.ErrNoResponder
	}
	h.proxy.take = func(f *scheduler.Frame) error {
		if p := plans[f.ID]; p.deafFrom >= 0 && int(f.Seq) >= p.deafFrom {
			return p.deaf
		}
		return nil
	}
	soon := func(d time.Duration, f func()) {
		if d > 0 {
			timer := time.AfterFunc(d, f)
			t.Cleanup(func() { timer.Stop() })
		}
	}
	soon(w.dies, h.net.Die)
	soon(w.proxyDies, func() {
		h.proxy.set(func(p *proxy) { p.ping = func(context.Context) error { return scheduler.ErrNoResponder } })
	})
	if w.leaderless > 0 {
		soon(time.Second, func() { h.leader.set(func(l *leader) { l.away = notLeader }) })
	}
	back := time.Second + w.leaderless
	soon(back, func() { h.leader.set(func(l *leader) { l.away = nil }) })
	granted := make(chan struct{}, len(w.plans))
	for i, p := range w.plans {
		id := fmt.Sprintf("p%d", i)
		h.proxy.set(func(*proxy) { plans[id] = p })
		g := &scheduler.Grant{
			Entry: scheduler.Entry{ID: id, Proxy: "px", Pool: "main", Endpoint: "chat", Path: "/v1/chat/completions", Stream: p.stream, InputTokens: 10},
			Fence: scheduler.Fence{Bucket: 1, Revision: 1, Attempt: uint32(i)}, Number: uint64(i + 1), Try: 1, Backend: gpu, EnginePriority: -1,
		}
		soon(p.at+time.Millisecond, func() {
			h.w.Grant(g, func(err error) {
				if err == nil {
					h.leader.set(func(*leader) { h.grants = append(h.grants, g) })
				}
			})
			granted <- struct{}{}
		})
		if p.cancel > 0 {
			soon(p.at+p.cancel, func() { _ = h.w.Cancel(t.Context(), id, g.Fence) })
		}
	}
	if w.drains > 0 {
		<-time.After(w.drains)
		ctx, cancel := context.WithTimeout(t.Context(), w.stops)
		h.w.Drain(ctx)
		cancel()
	}
	if w.stops > 0 {
		<-time.After(w.stops)
		<-time.After(max(0, back-w.drains-w.stops)) // a goodbye needs somebody who hears it
		h.w.Stop()
	}
	for range w.plans {
		<-granted
	}
	<-time.After(30 * time.Second) // longer than everything that may take time
	synctest.Wait()
	return judge(h)
}

// judge holds events against frames.
func judge(h *house) string {
	ends := map[scheduler.Fence][]scheduler.Event{}
	for _, ev := range h.leader.events {
		if ev.Kind.Ends() {
			ends[ev.Fence] = append(ends[ev.Fence], ev)
		} else if len(ends[ev.Fence]) > 0 {
			return fmt.Sprintf("%s: %s behind its end", ev.ID, ev.Kind)
		}
	}
	if n := h.w.Running(); n > 0 {
		return fmt.Sprintf("%d attempts are left", n)
	}
	for _, g := range h.grants {
		if n := len(ends[g.Fence]); n != 1 {
			return fmt.Sprintf("%s ended %d times", g.Entry.ID, n)
		}
		if s := misfit(ends[g.Fence][0], h.proxy.frames[g.Fence], h.proxy.take); s != "" {
			return fmt.Sprintf("%s: %s; event %+v; the proxy heard:\n%s", g.Entry.ID, s, ends[g.Fence][0], h.proxy.story(g.Fence))
		}
	}
	return ""
}

// misfit is what is wrong with an end, given what the proxy was sent.
func misfit(ev scheduler.Event, frames []scheduler.Frame, take func(*scheduler.Frame) error) string {
	begun, told := false, false
	for _, f := range frames {
		err := take(&f)
		begun = begun || f.Type == scheduler.FrameHead && err == nil
		told = told || f.End != nil
	}
	switch ev.Kind {
	case scheduler.EventEnd:
		if !begun || !told {
			return "an end without a head or without an end frame"
		}
		if ev.Outcome == scheduler.Completed != (frames[len(frames)-1].Type == scheduler.FrameEnd && frames[len(frames)-1].End.Outcome == scheduler.Completed) {
			return "the proxy was told something else"
		}
	case scheduler.EventCancelled:
		if told {
			return "cancelled, and yet it was told an end"
		}
	case scheduler.EventStale, scheduler.EventGone:
		if len(frames) > 0 || ev.Sent {
			return "frames of an attempt that may not be"
		}
	default:
		if begun {
			return "to be repeated although its answer has begun"
		}
		if ev.Kind == scheduler.EventFault && ev.Problem == nil {
			return "nothing to tell the client"
		}
	}
	if ev.Refused && (ev.Sent || ev.Died) {
		return "refused, and yet sent"
	}
	return ""
}
