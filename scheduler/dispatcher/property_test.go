package dispatcher

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
)

// TestWhateverHappens, in whatever order: every entry is deleted exactly once, no
// client is told twice that it is over, and no slot, counter or place is left
// behind. The leader is called directly, as its goroutine would.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// Bytes that rapid draws are mostly small, and so would always say the same.
		seed, length := rapid.Uint64().Draw(rt, "seed"), rapid.IntRange(0, 3000).Draw(rt, "length")
		script := make([]byte, length)
		dice := rand.New(rand.NewPCG(seed, 0))
		for i := range script {
			script[i] = byte(dice.Uint32())
		}
		var complaint string
		synctest.Test(t, func(t *testing.T) { complaint = play(t, script) })
		if complaint != "" {
			rt.Fatal(complaint)
		}
	})
}

// FuzzWhateverHappens is the same for a fuzzer.
func FuzzWhateverHappens(f *testing.F) {
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			if complaint := play(t, script); complaint != "" {
				t.Error(complaint)
			}
		})
	})
}

// play lets happen what the script says, and returns what was wrong.
func play(t *testing.T, script []byte) (complaint string) {
	t.Helper()
	w := newWorld(t.Context(), script)
	defer func() {
		if v := recover(); v != nil && v != any(w) {
			panic(fmt.Sprintf("%v\n%s", v, strings.Join(w.happened, "\n")))
		}
		if len(w.wrong) > 0 {
			complaint = strings.Join(append(w.happened, w.wrong...), "\n")
		}
	}()
	w.lead()
	steps := []struct {
		name string
		do   func()
	}{
		{"publish", w.publish},
		{"publish", w.publish},
		{"publish", w.publish},
		{"late", w.late},
		{"twice", w.twice},
		{"cancel", w.cancel},
		{"event", w.event},
		{"event", w.event},
		{"event", w.event},
		{"event", w.event},
		{"stray", w.stray},
		{"again", w.again},
		{"beat", w.beat},
		{"beat", w.beat},
		{"old beat", w.oldBeat},
		{"die", w.die},
		{"restart", w.restart},
		{"leave", w.leave},
		{"mode", w.mode},
		{"flip", w.flip},
		{"reload", w.reload},
		{"time", w.time},
		{"time", w.time},
		{"stand", w.stand},
		{"proxy", w.proxy},
		{"next term", w.takeover},
	}
	for len(w.script) > 0 && len(w.wrong) == 0 {
		step := pick(w, steps)
		w.happened = append(w.happened, step.name)
		step.do()
		check(w, w.l)
	}
	w.finish()
	return ""
}

func (w *world) publish() {
	id := fmt.Sprintf("id%d", len(w.ids))
	w.ids = append(w.ids, id)
	wait := pick(w, []time.Duration{-time.Second, 3 * time.Second, time.Minute, 0})
	e := scheduler.Entry{
		ID: id, Proxy: pick(w, []string{"p0", "p1"}), Mode: scheduler.ModeSync, Pool: pool, Endpoint: "chat",
		Class: pick(w, []string{"vip", "normal", "gone"}), User: pick(w, []string{"a", "b", "c"}),
		Stream: w.coin(), UserWeight: 1, MaxRunning: w.upTo(3), MaxQueued: w.upTo(6),
		AcceptedAt: time.Now(), Sequences: pick(w, []int{0, 1, 1, 1, 2, 4, 300}), InputTokens: w.upTo(20_000),
	}
	if wait != 0 {
		e.Deadline = e.AcceptedAt.Add(wait)
	}
	seq, _ := w.stream.Publish(w.ctx, &e)
	w.say("%s of %s/%s %d sequences, stream %t", id, e.Class, e.User, e.Sequences, e.Stream)
	if w.upTo(3) == 0 {
		w.coming = append(w.coming, seq)
		return
	}
	w.arrive(seq)
	w.pass()
}

func (w *world) late() {
	if len(w.coming) == 0 {
		return
	}
	w.arrive(w.coming[0])
	w.coming = w.coming[1:]
	w.pass()
}

// twice is an entry that is in the stream a second time.
func (w *world) twice() {
	seqs := slices.Sorted(maps.Keys(w.stream.entries))
	if len(seqs) == 0 {
		return
	}
	e := w.stream.entries[pick(w, seqs)]
	seq, _ := w.stream.Publish(w.ctx, &e)
	w.arrive(seq)
	w.pass()
}

func (w *world) anyID() string {
	if len(w.ids) == 0 {
		return "nobody"
	}
	return pick(w, w.ids)
}

func (w *world) cancel() {
	w.l.cancelled(w.anyID())
	w.pass()
}

func (w *world) anyWorker() *scriptWorker {
	return w.workers[pick(w, []string{"w0", "w1"})]
}

func (w *world) anyEvent() scheduler.Event {
	ev := scheduler.Event{
		Kind: pick(w, []scheduler.EventKind{
			scheduler.EventFirstByte, scheduler.EventProgress, scheduler.EventEnd, scheduler.EventCancelled, scheduler.EventFault,
			scheduler.EventBusy, scheduler.EventGone, scheduler.EventStale, scheduler.EventNoProxy,
		}),
		Sent: w.coin(), Generated: w.upTo(500),
		Died: w.coin(), Refused: w.coin(), Final: w.upTo(4) == 0, Answered: w.upTo(3) == 0,
	}
	if ev.Kind == scheduler.EventEnd {
		ev.Outcome = pick(w, []scheduler.Outcome{scheduler.Completed, scheduler.Completed, scheduler.Failed, scheduler.Invalid, scheduler.Lost})
		ev.Usage = scheduler.Usage{Input: 100, Output: ev.Generated, Known: w.coin()}
	}
	return ev
}

func (w *world) event() {
	s := w.anyWorker()
	if len(s.running) == 0 || s.silent {
		return
	}
	k := pick(w, s.keys())
	ev := w.anyEvent()
	ev.ID, ev.Fence, ev.Backend = k.id, k.f, s.running[k].Grant.Backend
	r := &scheduler.Report{Worker: s.id, Pool: pool, Events: []scheduler.Event{ev}}
	if w.coin() {
		r = s.report(ev)
	}
	run := s.running[k]
	run.Sent, run.FirstByte = run.Sent || ev.Sent, run.FirstByte || ev.Kind == scheduler.EventFirstByte
	if ev.Kind.Ends() && w.upTo(5) > 0 {
		delete(s.running, k)
	}
	w.say("%s of %s by %s with a beat %t, kept %t", ev.Kind, k.id, s.id, r.Beat != nil, s.running[k] != nil)
	w.tell(r)
	w.pass()
}

// stray is an event of an attempt that is not there.
func (w *world) stray() {
	ev := w.anyEvent()
	ev.ID = w.anyID()
	ev.Fence = scheduler.Fence{Bucket: 1, Revision: w.office.revision, Attempt: uint32(w.upTo(20))}
	w.tell(&scheduler.Report{Worker: "w0", Pool: pool, Events: []scheduler.Event{ev}})
	w.pass()
}

// again is a report whose acknowledgement was lost.
func (w *world) again() {
	if w.last == nil {
		return
	}
	w.l.report(w.last)
	w.pass()
}

func (w *world) beat() {
	s := w.anyWorker()
	s.silent = false
	w.tell(s.report())
	w.pass()
}

func (w *world) oldBeat() {
	if r := w.beats[w.anyWorker().id]; r != nil {
		w.l.report(r)
		w.pass()
	}
}

func (w *world) die() {
	s := w.anyWorker()
	s.silent = true
	if w.coin() {
		clear(s.running)
		s.last, s.born = 0, s.born.Add(time.Nanosecond)
	}
	w.pass()
}

func (w *world) restart() {
	s := w.anyWorker()
	clear(s.running)
	s.last, s.silent, s.born = 0, false, s.born.Add(time.Nanosecond)
	w.tell(s.report())
	w.pass()
}

// leave is a worker that stops in order, and starts anew.
func (w *world) leave() {
	s := w.anyWorker()
	r := s.report()
	r.Beat.Leaving, r.Beat.Draining = true, true
	clear(s.running)
	s.last, s.born = 0, s.born.Add(time.Nanosecond)
	w.tell(r)
	w.pass()
}

func (w *world) mode() {
	s := w.anyWorker()
	s.mode = w.upTo(3)
	answers := s.answers
	s.answers = nil
	for _, answer := range answers {
		answer(pick(w, []error{nil, scheduler.ErrNoResponder}))
	}
	w.pass()
}

func (w *world) flip() {
	s := w.anyWorker()
	url := pick(w, []string{gpuA, gpuB})
	s.up[url] = !s.up[url]
}

func (w *world) reload() {
	p := w.cfg.Policy
	p.Backend = capacity.Config{}
	for _, b := range w.cfg.Policy.Backend.Backends {
		if w.upTo(2) > 0 {
			p.Backend.Backends = append(p.Backend.Backends, b)
		}
	}
	w.l.apply(p)
	w.pass()
}

func (w *world) time() {
	for range 1 + w.upTo(10-1) {
		advance(tick)
		w.l.tick(time.Now())
		w.pass()
	}
}

func (w *world) stand() {
	if advance(pick(w, []time.Duration{2 * time.Second, 70 * time.Second})); len(w.ended) > 0 {
		w.judge()
	}
	w.l.tick(time.Now())
	w.pass()
}

func (w *world) proxy() {
	p := pick(w, []string{"p0", "p1"})
	if w.upTo(3) == 0 {
		w.l.dropProxy(p)
	} else {
		w.l.proxies[p] = time.Now()
	}
	w.pass()
}

func (w *world) takeover() {
	if w.upTo(2) > 0 {
		return
	}
	w.lead()
}

// finish lets everything go right until nothing is left.
func (w *world) finish() {
	w.l.apply(w.cfg.Policy)
	for _, seq := range w.coming {
		w.arrive(seq)
	}
	deadline := time.Now().Add(10 * time.Minute)
	for quiet := 0; quiet < 300; quiet++ { // also what is remembered for a minute
		w.round()
		if len(w.l.items) > 0 || len(w.l.elsewhere) > 0 {
			quiet = 0
		}
		if time.Now().After(deadline) {
			w.Fatalf("%d requests are left, %d elsewhere", len(w.l.items), len(w.l.elsewhere))
		}
	}
	checkIdle(w, w.l)
	if len(w.l.over.ids) > 0 || len(w.l.notices) > 0 || len(w.l.waiters) > 0 || len(w.l.over.fifo) > 0 {
		w.Errorf("%d tombstones, %d notices, %d waiters are left", len(w.l.over.ids), len(w.l.notices), len(w.l.waiters))
	}
	for seq := range w.stream.last {
		if n := w.stream.deleted[seq+1]; n != 1 {
			w.Errorf("entry %d was deleted %d times", seq+1, n)
		}
	}
	w.judge()
}

// judge holds the leader to having told nobody twice that it is over, for as long
// as it remembers.
func (w *world) judge() {
	for id, n := range w.ended {
		if n > 1 {
			w.Errorf("%s was told %d times that it is over", id, n)
		}
	}
	clear(w.ended)
}

func (w *world) round() {
	for _, id := range []string{"w0", "w1"} {
		s := w.workers[id]
		s.mode, s.silent, s.up[gpuA], s.up[gpuB] = 0, false, true, true
		answers := s.answers
		s.answers = nil
		for _, answer := range answers {
			answer(nil)
		}
		var events []scheduler.Event
		for _, k := range s.keys() {
			events = append(events, scheduler.Event{ID: k.id, Fence: k.f, Kind: scheduler.EventEnd, Outcome: scheduler.Completed, Sent: true, Backend: s.running[k].Grant.Backend})
		}
		r := s.report(events...)
		clear(s.running)
		w.tell(r)
	}
	for _, p := range []string{"p0", "p1"} {
		w.l.proxies[p] = time.Now()
	}
	advance(tick)
	w.l.tick(time.Now())
	w.pass()
}
