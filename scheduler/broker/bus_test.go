package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
)

// ends are two places on one bus: who serves is there, who asks is here.
type ends struct{ here, there *Bus }

// onBothWays runs one suite where both ends are one process, and where a socket
// is between them.
func onBothWays(t *testing.T, suite func(t *testing.T, e ends)) {
	t.Helper()
	t.Run("local", func(t *testing.T) {
		b := openBroker(t, Config{Store: StoreMemory})
		suite(t, ends{b.Bus(), b.Bus()})
	})
	t.Run("remote", func(t *testing.T) {
		s := startServer(t)
		here, there := openBroker(t, Config{URL: s.url()}), openBroker(t, Config{URL: s.url()})
		suite(t, ends{here.Bus(), there.Bus()})
	})
}

func stopLater(t testing.TB) func(stop func(), err error) {
	t.Helper()
	return func(stop func(), err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("serve: %v", err)
		}
		t.Cleanup(stop)
	}
}

func sampleGrant(n uint64) *scheduler.Grant {
	e := entry(fmt.Sprintf("id%d", n), "user:möbius\n")
	e.AcceptedAt, e.Deadline = time.Unix(1_700_000_000, 123), time.Unix(1_700_000_060, 0)
	return &scheduler.Grant{
		Entry: *e, Fence: scheduler.Fence{Bucket: 1_700_000_000, Revision: 7, Attempt: uint32(n)}, Number: n,
		Backend: "http://gpu:8000", EnginePriority: -1, Charged: 1234, Weights: []float64{1, 0.5, 3},
	}
}

func TestGrant(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		w := newFakeWorker()
		w.refuse = func(g *scheduler.Grant) error {
			if g.Number == 2 {
				return scheduler.ErrBusy
			}
			return nil
		}
		stopLater(t)(e.there.ServeWorker("wk1", []string{"small"}, w))
		ask := func(id string, g *scheduler.Grant) error {
			answer := make(chan error, 2)
			e.here.Worker(id).Grant(g, func(err error) { answer <- err })
			err := take(t, answer, "an answer")
			none(t, answer, "a second answer")
			return err
		}
		want := sampleGrant(1)
		if err := ask("wk1", want); err != nil {
			t.Errorf("grant: %v", err)
		}
		if diff := cmp.Diff(want, take(t, w.grants, "the grant")); diff != "" {
			t.Errorf("the grant changed on the way (-sent +got):\n%s", diff)
		}
		if err := ask("wk1", sampleGrant(2)); !errors.Is(err, scheduler.ErrBusy) {
			t.Errorf("a full worker answers %v", err)
		}
		for _, id := range []string{"wk2", "", "a.b", "all", "a b", "*"} {
			if err := ask(id, sampleGrant(3)); !errors.Is(err, scheduler.ErrNoResponder) {
				t.Errorf("worker %q, which is not there, answers %v", id, err)
			}
		}
	})
}

func TestGrantsKeepTheirOrder(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		w := newFakeWorker()
		stopLater(t)(e.there.ServeWorker("wk1", []string{"small"}, w))
		const n = 500
		answers := make(chan error, n)
		for i := range n {
			e.here.Worker("wk1").Grant(sampleGrant(uint64(i+1)), func(err error) { answers <- err })
		}
		for i := range n {
			if g := take(t, w.grants, "a grant"); g.Number != uint64(i+1) {
				t.Fatalf("grant %d came in place %d", g.Number, i+1)
			}
			if err := take(t, answers, "an answer"); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestHandshake(t *testing.T) {
	small, edge, large := []byte("{\"prompt\": \"ü\"}\x00"), bytes.Repeat([]byte("x"), inlineBody), make([]byte, 9*bodyPart+77)
	for i := range large {
		large[i] = byte(i * 31 >> 3)
	}
	header := http.Header{"Content-Type": {"application/json; charset=\"utf-8\""}, "X-Odd": {"a\tb", "€"}}
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		p := newFakeProxy()
		p.bodies["small"] = &scheduler.Handover{Verdict: scheduler.Go, Header: header, Body: small, AddedUsage: true}
		p.bodies["edge"] = &scheduler.Handover{Verdict: scheduler.Go, Header: header, Body: edge}
		p.bodies["large"] = &scheduler.Handover{Verdict: scheduler.Go, Header: header, Body: large, AddedUsage: true}
		p.bodies["stale"] = &scheduler.Handover{Verdict: scheduler.Stale}
		p.bodies["none"] = &scheduler.Handover{Verdict: scheduler.Gone}
		stopLater(t)(e.there.ServeProxy("px", p))
		for id, want := range p.bodies {
			h := scheduler.Handshake{ID: id, Fence: scheduler.Fence{Bucket: 1, Revision: 2, Attempt: 3}, Worker: "wk1"}
			for range 2 { // a body can be had again: by the next attempt
				got, err := e.here.Proxy("px").Handshake(t.Context(), h)
				if err != nil {
					t.Fatalf("%s: %v", id, err)
				}
				if asked := take(t, p.shakes, "the handshake"); asked != h {
					t.Errorf("%s: asked %+v, came %+v", id, h, asked)
				}
				if got.Verdict != want.Verdict || got.AddedUsage != want.AddedUsage || !bytes.Equal(got.Body, want.Body) {
					t.Errorf("%s: %s with %d bytes, want %s with %d", id, got.Verdict, len(got.Body), want.Verdict, len(want.Body))
				}
				if diff := cmp.Diff(want.Header, got.Header); diff != "" {
					t.Errorf("%s: header (-want +got):\n%s", id, diff)
				}
			}
		}
		for _, id := range []string{"elsewhere", "a.b", ""} {
			if _, err := e.here.Proxy(id).Handshake(t.Context(), scheduler.Handshake{ID: "x"}); !errors.Is(err, scheduler.ErrNoResponder) {
				t.Errorf("proxy %q, which is not there, answers %v", id, err)
			}
		}
	})
}

func everyFrame() []*scheduler.Frame {
	usage := scheduler.Usage{Input: 7, Cached: 3, Output: 9, Known: true, CachedKnown: true}
	raw := make([]byte, 256)
	for i := range raw {
		raw[i] = byte(i)
	}
	frames := []*scheduler.Frame{
		{Type: scheduler.FrameHead, Head: &scheduler.Head{Status: 200, Header: http.Header{"X-A": {"1", "2"}}, Backend: "gpu:8000", Attempt: 2}},
		{Type: scheduler.FrameBeat},
		{Type: scheduler.FrameData, Data: raw},
		{Type: scheduler.FrameData, Data: bytes.Repeat([]byte("data: {}\n\n"), 25_000)},
		{Type: scheduler.FrameEnd, End: &scheduler.End{Usage: usage, Outcome: scheduler.Completed, Cost: 12.5}},
		{Type: scheduler.FrameErr, Problem: &scheduler.Problem{Code: scheduler.CodeAnswerLost, Message: "gone", RetryAfter: time.Second}},
		{Type: scheduler.FrameErr, Problem: scheduler.Problemf(scheduler.CodeBackendFailed, "half"), End: &scheduler.End{Usage: usage, Outcome: scheduler.Failed}},
	}
	for i, f := range frames {
		f.ID, f.Worker, f.Seq = "call", "wk1", uint32(i)+1<<31
		f.Fence = scheduler.Fence{Bucket: 1<<32 - 1, Revision: 1 << 31, Attempt: 0x01020304}
	}
	return frames
}

func TestFramesArriveAsSent(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		p := newFakeProxy()
		stopLater(t)(e.there.ServeProxy("px", p))
		proxy := e.here.Proxy("px")
		for _, f := range everyFrame() {
			if err := proxy.Frame(f); err != nil {
				t.Fatalf("frame %d: %v", f.Type, err)
			}
		}
		for _, want := range everyFrame() {
			if diff := cmp.Diff(want, take(t, p.frames, "a frame")); diff != "" {
				t.Errorf("frame %d changed on the way (-sent +got):\n%s", want.Type, diff)
			}
		}
		other := &scheduler.Frame{Type: scheduler.FrameBeat, ID: "call2", Worker: "wk2"} // the handle is not one call's
		if err := proxy.Frame(other); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(other, take(t, p.frames, "a frame")); diff != "" {
			t.Errorf("frame of another call (-sent +got):\n%s", diff)
		}
	})
}

func TestFramesKeepTheirOrderWithinAProxy(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		p := newFakeProxy()
		stopLater(t)(e.there.ServeProxy("px", p))
		const n = 2000
		proxies := []scheduler.Proxy{e.here.Proxy("px"), e.here.Proxy("px")}
		for i := range n {
			id := fmt.Sprintf("call%d", i%7)
			if err := proxies[i%2].Frame(&scheduler.Frame{Type: scheduler.FrameData, ID: id, Worker: "wk1", Seq: uint32(i), Data: []byte(id)}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			f := take(t, p.frames, "a frame")
			if want := fmt.Sprintf("call%d", i%7); f.Seq != uint32(i) || f.ID != want || string(f.Data) != want {
				t.Fatalf("frame %d of %s in place %d", f.Seq, f.ID, i)
			}
		}
	})
}

func TestNotify(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		p := newFakeProxy()
		stopLater(t)(e.there.ServeProxy("px", p))
		var want []scheduler.Notice
		for i := range 3*noticesAtOnce + 5 {
			want = append(want, scheduler.Notice{ID: fmt.Sprint("id", i), Kind: scheduler.NoticeQueued, Position: i + 1, ETA: time.Second})
		}
		want[3] = scheduler.Notice{ID: "id3", Kind: scheduler.NoticeEnded, Problem: scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonStore, time.Second, strings.Repeat("<", 200))}
		if err := e.here.Proxy("px").Notify(want); err != nil {
			t.Fatal(err)
		}
		var got []scheduler.Notice
		for len(got) < len(want) {
			got = append(got, take(t, p.notices, "a notice")...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("notices (-sent +got):\n%s", diff)
		}
	})
}

func TestPing(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		p := newFakeProxy()
		stop, err := e.there.ServeProxy("px", p)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.here.Proxy("px").Ping(t.Context()); err != nil {
			t.Errorf("ping: %v", err)
		}
		p.ping = errTest
		if err := e.here.Proxy("px").Ping(t.Context()); err == nil || errors.Is(err, scheduler.ErrNoResponder) {
			t.Errorf("a proxy that fails answers %v", err)
		}
		stop()
		stop()
		if err := e.here.Proxy("px").Ping(t.Context()); !errors.Is(err, scheduler.ErrNoResponder) {
			t.Errorf("a proxy that stopped answers %v", err)
		}
	})
}

func TestCancelAndMusterOfAWorker(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		ctx := t.Context()
		f := scheduler.Fence{Bucket: 3, Revision: 2, Attempt: 1}
		if err := e.here.Worker("wk1").Cancel(ctx, "id", f); !errors.Is(err, scheduler.ErrNoResponder) {
			t.Errorf("a worker that is not there: %v", err)
		}
		w := newFakeWorker()
		stopLater(t)(e.there.ServeWorker("wk1", []string{"small"}, w))
		if err := e.here.Worker("wk1").Cancel(ctx, "id", f); err != nil {
			t.Error(err)
		}
		if got := take(t, w.cancels, "the cancel"); got != (recall{"id", f}) {
			t.Errorf("cancel %+v", got)
		}
		if err := e.here.Worker("wk1").Muster(ctx, "small"); err != nil {
			t.Error(err)
		}
		take(t, w.musters, "the muster")
	})
}

func TestMusterReachesEveryWorkerOfThePoolOnce(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		near, far, other := newFakeWorker(), newFakeWorker(), newFakeWorker()
		stopLater(t)(e.here.ServeWorker("near", []string{"big", "small"}, near))
		stopLater(t)(e.there.ServeWorker("far", []string{"small"}, far))
		stopLater(t)(e.there.ServeWorker("other", []string{"big"}, other))
		if err := e.here.MusterWorkers(t.Context(), "small"); err != nil {
			t.Fatal(err)
		}
		for _, w := range []*fakeWorker{near, far} {
			if got := take(t, w.musters, "the muster"); got != "small" {
				t.Errorf("mustered for %q", got)
			}
		}
		// What comes behind it on the same way shows that nothing else comes.
		for id, w := range map[string]*fakeWorker{"near": near, "far": far, "other": other} {
			if err := e.here.Worker(id).Muster(t.Context(), "end"); err != nil {
				t.Fatal(err)
			}
			if got := take(t, w.musters, "the end"); got != "end" {
				t.Errorf("%s was mustered for %q too", id, got)
			}
		}
	})
}

func TestServeRefusesWhatNoSubjectHolds(t *testing.T) {
	b := openBroker(t, Config{Store: StoreMemory}).Bus()
	for _, id := range []string{"", "all", "a.b", "a>b", "ä", strings.Repeat("x", 129)} {
		if _, err := b.ServeWorker(id, nil, newFakeWorker()); err == nil {
			t.Errorf("worker %q is served", id)
		}
		if _, err := b.ServeProxy(id, newFakeProxy()); err == nil {
			t.Errorf("proxy %q is served", id)
		}
		if _, err := b.ServeDispatcher(id+"A", newFakeDispatcher()); err == nil {
			t.Errorf("pool %q is served", id+"A")
		}
	}
}

// What is in this process is called directly even where others could be asked:
// the same pointers arrive.
func TestLocalIsDirectBesideNATS(t *testing.T) {
	for name, url := range map[string]func() string{"embedded": func() string { return "" }, "external": func() string { return startServer(t).url() }} {
		t.Run(name, func(t *testing.T) {
			b := openBroker(t, Config{URL: url(), Store: StoreMemory}).Bus()
			w, p := newFakeWorker(), newFakeProxy()
			stopLater(t)(b.ServeWorker("wk", []string{"small"}, w))
			stopLater(t)(b.ServeProxy("px", p))
			g, f := sampleGrant(1), everyFrame()[2]
			answered := false
			b.Worker("wk").Grant(g, func(error) { answered = true })
			if take(t, w.grants, "the grant") != g || !answered {
				t.Error("the grant was copied")
			}
			if err := b.Proxy("px").Frame(f); err != nil || take(t, p.frames, "the frame") != f {
				t.Errorf("the frame was copied: %v", err)
			}
			over := &scheduler.Handover{Verdict: scheduler.Go, Body: []byte("x")}
			p.bodies["id"] = over
			if got, err := b.Proxy("px").Handshake(context.Background(), scheduler.Handshake{ID: "id"}); err != nil || got != over {
				t.Errorf("the handover was copied: %v", err)
			}
		})
	}
}
