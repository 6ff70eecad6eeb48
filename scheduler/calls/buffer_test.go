package calls

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
)

// submit opens one more call and lets w1 have it.
func submit(t *testing.T, d *Desk, stream bool) (id string, c scheduler.Call) {
	t.Helper()
	s := &scheduler.Submission{Entry: scheduler.Entry{Pool: "main", Stream: stream, Deadline: time.Now().Add(time.Minute)}}
	c, err := d.Submit(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	shake(t, d, s.Entry.ID, "w1", 1)
	return s.Entry.ID, c
}

// answers sends frames of size bytes from seq on.
func answers(t *testing.T, d *Desk, id string, size, n int, seq *uint32) {
	t.Helper()
	for range n {
		f := frame(scheduler.FrameData, 1, *seq)
		f.ID, f.Data = id, make([]byte, size)
		if err := d.Frame(f); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		*seq++
	}
}

// drain reads a call to its end and returns the bytes before it.
func drain(t *testing.T, c scheduler.Call) (int, scheduler.CallEvent) {
	t.Helper()
	n := 0
	for {
		ev := next(t, c)
		n += len(ev.Data)
		if ev.Kind == scheduler.CallEnd || ev.Kind == scheduler.CallProblem {
			return n, ev
		}
	}
}

// TestAnAnswerThatIsNoStreamMayBeLargerThanAStreamsBuffer: who reads it slowly holds
// nothing up.
func TestAnAnswerThatIsNoStreamMayBeLargerThanAStreamsBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := open(t, &peers{})
		id, c := submit(t, d, false)
		var seq uint32
		answers(t, d, id, 60, 10, &seq)
		f := frame(scheduler.FrameEnd, 1, seq)
		f.ID = id
		if err := d.Frame(f); err != nil {
			t.Fatal(err)
		}
		if n, ev := drain(t, c); n != 600 || ev.Kind != scheduler.CallEnd {
			t.Errorf("%d bytes came, and %+v", n, ev)
		}
	})
}

// TestWhoHoldsTheMostIsCutOff and nobody who reads, though it is he who sends what is
// too much.
func TestWhoHoldsTheMostIsCutOff(t *testing.T) {
	for _, ended := range []bool{false, true} {
		t.Run(fmt.Sprintf("its answer is over: %v", ended), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := open(t, &peers{})
				d.cfg.MaxTotal = 200
				fat, stalled := submit(t, d, true)
				_, little := submit(t, d, true)
				id, reads := submit(t, d, true)
				var ofFat, ofLittle, ofReader uint32
				answers(t, d, fat, 90, 1, &ofFat)
				answers(t, d, "r3", 80, 1, &ofLittle)
				if ended {
					f := frame(scheduler.FrameEnd, 1, ofFat)
					f.ID = fat
					if err := d.Frame(f); err != nil {
						t.Fatal(err)
					}
				}
				answers(t, d, id, 20, 1, &ofReader)
				for range 100 {
					answers(t, d, id, 20, 1, &ofReader)
					for ev := next(t, reads); ev.Kind != scheduler.CallData; ev = next(t, reads) {
					}
				}
				if n, ev := drain(t, stalled); n != 0 || ev.Problem == nil || ev.Problem.Code != scheduler.CodeOverloaded {
					t.Errorf("%d bytes came, and %+v", n, ev)
				}
				if n := d.buffered.Load(); n > 200 {
					t.Errorf("%d bytes wait", n)
				}
				stalled.Cancel()
				reads.Cancel()
				little.Cancel()
				if n := d.buffered.Load(); n != 0 || len(d.unread) != 0 {
					t.Errorf("%d bytes count as waiting, of %d calls", n, len(d.unread))
				}
			})
		})
	}
}

// TestWhatIsReadToItsEndIsForgotten also if its client was slow.
func TestWhatIsReadToItsEndIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := open(t, &peers{})
		id, c := submit(t, d, true)
		var seq uint32
		answers(t, d, id, 60, 1, &seq)
		f := frame(scheduler.FrameEnd, 1, seq)
		f.ID = id
		if err := d.Frame(f); err != nil {
			t.Fatal(err)
		}
		if len(d.unread) != 1 {
			t.Errorf("%d calls count as unread", len(d.unread))
		}
		if n, ev := drain(t, c); n != 60 || ev.Kind != scheduler.CallEnd || len(d.unread) != 0 {
			t.Errorf("%d bytes, %+v, %d calls count as unread", n, ev, len(d.unread))
		}
	})
}
