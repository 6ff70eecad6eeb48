package calls

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
)

// TestAProcessThatStoodStillHeardNothing and blames nobody for it.
func TestAProcessThatStoodStillHeardNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{}
		d := New(Config{ID: "px", Streams: map[string]Publisher{"main": p}, Bus: p, NewID: func() string { return "r1" }})
		w := newWatch(d)
		_, c := submit(t, d, true)
		for _, typ := range []scheduler.FrameType{scheduler.FrameHead, scheduler.FrameData} {
			if err := d.Frame(frame(typ, 1, uint32(typ)-1)); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(5 * time.Second) // nobody looks
		w.round(t.Context())
		if d.Open() != 1 {
			t.Fatal("the call was given up for the silence of those who did not listen")
		}
		for range lostBeats {
			if d.Open() != 1 {
				t.Error("it was given up early")
			}
			<-time.After(500 * time.Millisecond)
			w.round(t.Context())
		}
		if d.Open() != 0 {
			t.Error("it was not given up although it was silent")
		}
		c.Cancel()
	})
}

// TestAFrozenDispatcherDelaysNoOtherPool neither its beats nor the questions to it.
func TestAFrozenDispatcherDelaysNoOtherPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{frozen: "ice"}
		n := 0
		d := New(Config{ID: "px", Streams: map[string]Publisher{"ice": p, "main": p}, Bus: p, NewID: func() string {
			n++
			return fmt.Sprintf("r%d", n)
		}})
		d.Start(t.Context())
		defer d.Stop()
		for _, pool := range []string{"ice", "main"} {
			_, err := d.Submit(t.Context(), &scheduler.Submission{Entry: scheduler.Entry{Pool: pool, Deadline: time.Now().Add(time.Minute)}})
			if err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(4900 * time.Millisecond)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.beats["main"] < 9 {
			t.Errorf("%d beats in five seconds", p.beats["main"])
		}
		if p.asked["ice"] != 2 { // at 1.5 s, and when that was given up
			t.Errorf("the frozen one was asked %d times", p.asked["ice"])
		}
		if len(p.published) < 3 || p.published[2].Pool != "main" {
			t.Errorf("the call that the other one does not know was not published again: %+v", p.published)
		}
	})
}

// TestWithoutALeaderADeadWorkersCallEnds when it is overdue, and a live one's goes on.
func TestWithoutALeaderADeadWorkersCallEnds(t *testing.T) {
	for _, dies := range []bool{true, false} {
		t.Run(fmt.Sprintf("dies: %v", dies), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, c := open(t, &peers{noLeader: true})
				shake(t, d, "r1", "w1", 1)
				next(t, c)
				for range 70 {
					<-time.After(time.Second)
					if err := d.Frame(frame(scheduler.FrameBeat, 1, 0)); err != nil {
						t.Fatal(err)
					}
				}
				if d.Open() != 1 {
					t.Fatal("it was given up although its worker beats")
				}
				if !dies {
					c.Cancel()
					return
				}
				began := time.Now()
				if ev := next(t, c); ev.Problem == nil || ev.Problem.Code != scheduler.CodeAnswerLost {
					t.Errorf("got %+v", ev)
				}
				if took := time.Since(began); took < 3*time.Second || took > 4*time.Second {
					t.Errorf("given up after %s", took)
				}
			})
		})
	}
}
