package calls

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
)

// takes is a worker that needs a while to acknowledge.
func takes(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestFramesNobodyWantsAreOneErrand sends on while nobody acknowledges the cancel.
func TestFramesNobodyWantsAreOneErrand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{cancel: takes(time.Second)}
		d, c := open(t, p)
		shake(t, d, "r1", "w1", 1)
		c.Cancel()
		for seq := range uint32(1000) {
			if err := d.Frame(frame(scheduler.FrameData, 1, seq)); !errors.Is(err, scheduler.ErrUnknownCall) {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if p.tries != 1 {
			t.Errorf("the worker was told %d times at once", p.tries)
		}
		<-time.After(2 * time.Second)
		if cancelled, _, _ := p.snapshot(); cancelled != "w1:r1/1" {
			t.Errorf("cancelled %q", cancelled)
		}
		// Who still sends is told again.
		_ = d.Frame(frame(scheduler.FrameData, 1, 1000))
		<-time.After(2 * time.Second)
		if p.tries != 2 {
			t.Errorf("told %d times", p.tries)
		}
	})
}

func TestStopLetsCancelsArrive(t *testing.T) {
	for name, leave := range map[string]bool{"of a client that left": true, "of one that still waits": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &peers{cancel: takes(300 * time.Millisecond)}
				d, c := open(t, p)
				shake(t, d, "r1", "w1", 1)
				next(t, c)
				if leave {
					c.Cancel()
				}
				d.Stop()
				if cancelled, recalled, _ := p.snapshot(); cancelled != "w1:r1/1" || recalled != "r1" {
					t.Errorf("cancelled %q, recalled %q", cancelled, recalled)
				}
				if leave {
					return
				}
				if ev := next(t, c); ev.Problem == nil || ev.Problem.Code != scheduler.CodeShuttingDown {
					t.Errorf("got %+v", ev)
				}
				c.Cancel()
			})
		})
	}
}

func TestStopDoesNotWaitForWhoeverIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := open(t, &peers{cancel: takes(time.Hour)})
		shake(t, d, "r1", "w1", 1)
		c.Cancel()
		began := time.Now()
		d.Stop()
		if took := time.Since(began); took != stopPatience {
			t.Errorf("it took %s", took)
		}
	})
}

// TestEndsTellWhatTheRequestWentThrough although no answer's head ever came.
func TestEndsTellWhatTheRequestWentThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := open(t, &peers{})
		problem := scheduler.Problemf(scheduler.CodeBackendFailed, "no")
		if err := d.Notify([]scheduler.Notice{{ID: "r1", Kind: scheduler.NoticeEnded, Problem: problem, Backend: "gpu:8000", Attempts: 3}}); err != nil {
			t.Error(err)
		}
		if ev := next(t, c); ev.Problem != problem || ev.Backend != "gpu:8000" || ev.Attempts != 3 {
			t.Errorf("got %+v", ev)
		}
	})
}
