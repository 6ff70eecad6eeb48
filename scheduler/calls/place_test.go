package calls

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
)

// openShown starts a desk with a call whose client is shown its place.
func openShown(t *testing.T, p *peers, shows bool) (*Desk, scheduler.Call) {
	t.Helper()
	n := 0
	d := New(Config{ID: "px", Streams: map[string]Publisher{"main": p}, Bus: p, NewID: func() string { n++; return fmt.Sprintf("r%d", n) }})
	d.Start(t.Context())
	t.Cleanup(d.Stop)
	c, err := d.Submit(t.Context(), &scheduler.Submission{Entry: scheduler.Entry{Pool: "main", Stream: true}, ShowsPlace: shows})
	if err != nil {
		t.Fatal(err)
	}
	return d, c
}

// soon is the next event that wakes the client's goroutine within a second; kind 0:
// there is none.
func soon(t *testing.T, c scheduler.Call) scheduler.CallEvent {
	t.Helper()
	cc, ok := c.(*call)
	if !ok {
		t.Fatal("no call of a desk")
	}
	select {
	case <-cc.wake:
		ev, _ := cc.pop()
		return ev
	case <-time.After(time.Second):
		return scheduler.CallEvent{}
	}
}

func queuedNotice(position int, ended scheduler.Fence) scheduler.Notice {
	return scheduler.Notice{ID: "r1", Kind: scheduler.NoticeQueued, Position: position, ETA: time.Second, Ended: ended}
}

func tell(t *testing.T, d *Desk, n scheduler.Notice) {
	t.Helper()
	if err := d.Notify([]scheduler.Notice{n}); err != nil {
		t.Fatal(err)
	}
}

// TestOnlyWhoShowsItsPlaceIsWokenForIt: ten thousand that wait would be woken every
// second or two for nothing.
func TestOnlyWhoShowsItsPlaceIsWokenForIt(t *testing.T) {
	for _, shows := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d, c := openShown(t, &peers{}, shows)
			tell(t, d, queuedNotice(7, scheduler.Fence{}))
			if ev := soon(t, c); ev.Kind != scheduler.CallQueued || ev.Position != 7 || ev.ETA != time.Second {
				t.Errorf("at arrival: %+v", ev)
			}
			n := queuedNotice(6, scheduler.Fence{})
			n.NoBackend = true
			tell(t, d, n)
			if ev := soon(t, c); (ev.Kind == scheduler.CallQueued && ev.Position == 6 && ev.NoBackend) != shows {
				t.Errorf("shows %v, later: %+v", shows, ev)
			}
			shake(t, d, "r1", "w1", 1)
			if ev := soon(t, c); (ev.Kind == scheduler.CallGranted) != shows {
				t.Errorf("shows %v, granted: %+v", shows, ev)
			}
			c.Cancel()
		})
	}
}

// TestQueuedAgain: the end of the attempt at hand, and nothing else, makes of a
// granted call one that waits.
func TestQueuedAgain(t *testing.T) {
	for _, shows := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d, c := openShown(t, &peers{}, shows)
			shake(t, d, "r1", "w1", 1)
			if ev := next(t, c); ev.Kind != scheduler.CallGranted {
				t.Fatalf("got %+v", ev)
			}
			soon(t, c)
			tell(t, d, queuedNotice(7, scheduler.Fence{})) // it was under way before the grant
			tell(t, d, queuedNotice(7, fence(2)))          // of a grant that never came here
			if ev := soon(t, c); ev.Kind != 0 {
				t.Errorf("shows %v: a granted call is queued by %+v", shows, ev)
			}
			tell(t, d, queuedNotice(1, fence(1)))
			if ev := soon(t, c); ev.Kind != scheduler.CallQueued || ev.Position != 1 {
				t.Errorf("shows %v: queued again: %+v", shows, ev)
			}
			shake(t, d, "r1", "w2", 3)
			if ev := next(t, c); ev.Kind != scheduler.CallGranted {
				t.Errorf("shows %v: granted again: %+v", shows, ev)
			}
			if err := d.Frame(frame(scheduler.FrameHead, 3, 0)); err != nil {
				t.Fatal(err)
			}
			tell(t, d, queuedNotice(1, fence(3)))
			if ev := next(t, c); ev.Kind != scheduler.CallHead {
				t.Errorf("got %+v", ev)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if ev, err := c.Next(ctx); err == nil {
				t.Errorf("an answer that has begun is queued by %+v", ev)
			}
			c.Cancel()
		})
	}
}

// TestWhoShowsItsPlaceIsAskedAfterFirst: however many wait, they hear of it.
func TestWhoShowsItsPlaceIsAskedAfterFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{known: map[string]scheduler.Notice{}}
		n := 0
		d := New(Config{ID: "px", Streams: map[string]Publisher{"main": p}, Bus: p, NewID: func() string { n++; return fmt.Sprintf("r%d", n) }})
		for i := range 3 * askAtOnce {
			s := &scheduler.Submission{Entry: scheduler.Entry{Pool: "main"}, ShowsPlace: i%100 == 0}
			if _, err := d.Submit(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(time.Minute)
		asked := newWatch(d).quiet(time.Now())["main"]
		shown := 0
		for _, c := range asked {
			if c.shows {
				shown++
			}
		}
		if want := 3*askAtOnce/100 + 1; shown != want || len(asked) < askAtOnce || len(asked) > 2*askAtOnce {
			t.Errorf("%d are asked after, %d of %d that are shown their place", len(asked), shown, want)
		}
	})
}
