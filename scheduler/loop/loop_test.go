package loop

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestALoopLivesFromStartToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l Loop
		var begun, ended atomic.Int64
		run := func(ctx context.Context) {
			begun.Add(1)
			<-ctx.Done()
			ended.Add(1)
		}
		expect := func(what string, begins, ends int64) {
			t.Helper()
			synctest.Wait()
			if begun.Load() != begins || ended.Load() != ends {
				t.Errorf("%s: begun %d times, ended %d times; want %d and %d", what, begun.Load(), ended.Load(), begins, ends)
			}
		}
		l.Stop()
		expect("a Stop before its Start", 0, 0)

		starting, leave := context.WithCancel(t.Context())
		l.Start(starting, run)
		l.Start(starting, run)
		leave()
		expect("a second Start, and who started it left", 1, 0)

		for range 3 {
			go l.Stop()
		}
		l.Stop()
		if ended.Load() != 1 {
			t.Error("Stop did not wait for the end")
		}
		expect("several Stops", 1, 1)

		l.Start(t.Context(), run)
		expect("a Start after Stop", 2, 1)
		l.Stop()
		expect("and its Stop", 2, 2)
	})
}

func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if !Pause(t.Context(), time.Minute) || time.Since(start) != time.Minute {
			t.Errorf("paused for %v, want a minute", time.Since(start))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if Pause(ctx, time.Minute) || time.Since(start) != time.Second {
			t.Errorf("paused for %v after a context of a second", time.Since(start))
		}
	})
}
