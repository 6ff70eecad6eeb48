package calls

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
)

// slowStore stores what it is given after a while; only then it is known.
func slowStore(p *peers, d time.Duration, slow func(id string) bool) {
	p.known = map[string]scheduler.Notice{}
	p.store = func(ctx context.Context, id string) error {
		if !slow(id) {
			return nil // and it is lost
		}
		if err := takes(d)(ctx); err != nil {
			return err
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.known[id] = scheduler.Notice{ID: id, Kind: scheduler.NoticeGranted}
		return nil
	}
}

func TestACallIsNotMissedWhileItIsPublished(t *testing.T) {
	for want, slow := range map[string]func(id string) bool{
		"r1":    func(string) bool { return true },
		"r1 r2": func(id string) bool { return id != "r1" },
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &peers{}
				slowStore(p, 9*time.Second, slow)
				_, c := open(t, p)
				<-time.After(20 * time.Second)
				if _, _, published := p.snapshot(); published != want {
					t.Errorf("published %q", published)
				}
				c.Cancel()
			})
		})
	}
}

func TestAPublishThatFailsIsRepeatedAndThenMissedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{}
		slowStore(p, time.Hour, func(id string) bool { return id == "r2" })
		p.known["r3"] = scheduler.Notice{ID: "r3", Kind: scheduler.NoticeGranted}
		_, c := open(t, p)
		<-time.After(20 * time.Second)
		if _, _, published := p.snapshot(); published != "r1 r2 r3" {
			t.Errorf("published %q", published)
		}
		c.Cancel()
	})
}

func TestAPublishEndsWithItsCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{}
		slowStore(p, time.Hour, func(id string) bool { return id != "r1" })
		ended := 0
		store := p.store
		p.store = func(ctx context.Context, id string) error {
			err := store(ctx, id)
			if err != nil {
				ended++
			}
			return err
		}
		_, c := open(t, p)
		<-time.After(3 * time.Second)
		if _, _, published := p.snapshot(); published != "r1 r2" || ended != 0 {
			t.Fatalf("published %q, %d ended", published, ended)
		}
		c.Cancel()
		<-time.After(5 * time.Second)
		if _, recalled, published := p.snapshot(); published != "r1 r2" || ended != 1 || recalled != "r2" {
			t.Errorf("published %q, %d ended, recalled %q", published, ended, recalled)
		}
	})
}

// TestALostBeginningIsAnsweredByAnotherAttempt: the client saw nothing of it.
func TestALostBeginningIsAnsweredByAnotherAttempt(t *testing.T) {
	for name, typ := range map[string]scheduler.FrameType{"data": scheduler.FrameData, "a beat": scheduler.FrameBeat, "the end": scheduler.FrameEnd} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &peers{}
				d, c := open(t, p)
				shake(t, d, "r1", "w1", 1)
				next(t, c)
				if err := d.Frame(frame(typ, 1, 1)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if cancelled, _, published := p.snapshot(); cancelled != "w1:r1/1" || published != "r1 r2" {
					t.Errorf("cancelled %q, published %q", cancelled, published)
				}
				if v := shake(t, d, "r1", "w1", 2).Verdict; v != scheduler.Gone {
					t.Errorf("the old id: %s", v)
				}
				shake(t, d, "r2", "w1", 3)
				for i, typ := range []scheduler.FrameType{scheduler.FrameHead, scheduler.FrameEnd} {
					f := frame(typ, 3, uint32(i))
					f.ID = "r2"
					if err := d.Frame(f); err != nil {
						t.Fatal(err)
					}
				}
				next(t, c)
				if ev := next(t, c); ev.Kind != scheduler.CallEnd {
					t.Errorf("got %+v", ev)
				}
			})
		})
	}
}

// TestALostBeginningPastTheDeadlineIsTheEnd: nobody may wait any longer.
func TestALostBeginningPastTheDeadlineIsTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := open(t, &peers{known: map[string]scheduler.Notice{"r1": {ID: "r1", Kind: scheduler.NoticeGranted}}})
		shake(t, d, "r1", "w1", 1)
		next(t, c)
		<-time.After(61 * time.Second)
		if err := d.Frame(frame(scheduler.FrameData, 1, 1)); err != nil {
			t.Fatal(err)
		}
		if ev := next(t, c); ev.Problem == nil || ev.Problem.Code != scheduler.CodeAnswerLost {
			t.Errorf("got %+v", ev)
		}
	})
}

// TestAfterASlowPublishTheDispatcherHasTime to read the entry before it is asked.
func TestAfterASlowPublishTheDispatcherHasTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{store: func(ctx context.Context, _ string) error { return takes(9 * time.Second)(ctx) }}
		_, c := open(t, p)
		<-time.After(1400 * time.Millisecond)
		if p.asked["main"] != 0 {
			t.Errorf("it was asked %d times", p.asked["main"])
		}
		c.Cancel()
	})
}
