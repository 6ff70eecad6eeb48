package calls

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"fairlane/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnswerComesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := open(t, &peers{})
		if h := shake(t, d, "r1", "w1", 1); h.Verdict != scheduler.Go || string(h.Body) != "prompt" {
			t.Fatalf("handover = %+v, want go with the body", h)
		}
		for _, f := range []*scheduler.Frame{
			frame(scheduler.FrameBeat, 1, 0),
			frame(scheduler.FrameHead, 1, 0),
			frame(scheduler.FrameData, 1, 1),
			frame(scheduler.FrameBeat, 1, 2), // it takes no number: one more or less makes no gap
			frame(scheduler.FrameBeat, 1, 2),
			frame(scheduler.FrameEnd, 1, 2),
		} {
			if err := d.Frame(f); err != nil {
				t.Fatal(err)
			}
		}
		want := []scheduler.CallEventKind{scheduler.CallGranted, scheduler.CallHead, scheduler.CallData, scheduler.CallEnd}
		for _, k := range want {
			if got := next(t, c).Kind; got != k {
				t.Fatalf("event %v, want %v", got, k)
			}
		}
		if d.Open() != 0 {
			t.Errorf("%d calls are open after the end", d.Open())
		}
	})
}

func TestFencing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{}
		d, _ := open(t, p)
		verdict := func(id, worker string, attempt uint32, want scheduler.Verdict) {
			t.Helper()
			if got := shake(t, d, id, worker, attempt).Verdict; got != want {
				t.Errorf("attempt %d: %s, want %s", attempt, got, want)
			}
		}
		verdict("nobody", "w1", 1, scheduler.Gone)
		verdict("r1", "w1", 2, scheduler.Go)
		verdict("r1", "w2", 1, scheduler.Stale) // older
		verdict("r1", "w2", 2, scheduler.Stale) // the same again
		verdict("r1", "w2", 3, scheduler.Go)    // newer: the one before is cancelled
		synctest.Wait()
		if cancelled, _, _ := p.snapshot(); cancelled != "w1:r1/2" {
			t.Errorf("cancelled %q", cancelled)
		}
		if err := d.Frame(frame(scheduler.FrameHead, 2, 0)); !errors.Is(err, scheduler.ErrUnknownCall) {
			t.Errorf("a frame of the old attempt: %v", err)
		}
		if err := d.Frame(frame(scheduler.FrameHead, 3, 0)); err != nil {
			t.Error(err)
		}
		verdict("r1", "w1", 9, scheduler.Stale) // its answer has begun
	})
}

func TestLostFrameEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{}
		d, c := open(t, p)
		shake(t, d, "r1", "w1", 1)
		next(t, c)
		if err := d.Frame(frame(scheduler.FrameHead, 1, 0)); err != nil {
			t.Fatal(err)
		}
		next(t, c)
		if err := d.Frame(frame(scheduler.FrameData, 1, 2)); err != nil {
			t.Fatal(err)
		}
		if ev := next(t, c); ev.Kind != scheduler.CallProblem || ev.Problem.Code != scheduler.CodeAnswerLost {
			t.Errorf("got %+v, want answer_lost", ev)
		}
		synctest.Wait()
		if cancelled, recalled, _ := p.snapshot(); cancelled != "w1:r1/1" || recalled != "r1" {
			t.Errorf("cancelled %q, recalled %q", cancelled, recalled)
		}
	})
}

func TestSlowReaderIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := open(t, &peers{})
		shake(t, d, "r1", "w1", 1)
		for seq := range uint32(2) {
			f := frame(scheduler.FrameData, 1, seq)
			f.Data = make([]byte, 60)
			if err := d.Frame(f); err != nil {
				t.Fatal(err)
			}
		}
		next(t, c) // granted
		next(t, c) // the first piece
		if ev := next(t, c); ev.Kind != scheduler.CallProblem || ev.Problem.Code != scheduler.CodeOverloaded {
			t.Errorf("got %+v, want overloaded", ev)
		}
		c.Cancel()
		if n := d.buffered.Load(); n != 0 {
			t.Errorf("%d bytes count as waiting after the call", n)
		}
	})
}

func TestCancelIsRepeatedUntilALeaderHearsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{noLeader: true}
		_, c := open(t, p)
		c.Cancel()
		c.Cancel()
		<-time.After(2 * time.Second)
		p.mu.Lock()
		p.noLeader = false
		p.mu.Unlock()
		<-time.After(2 * time.Second)
		if _, recalled, _ := p.snapshot(); recalled != "r1" {
			t.Errorf("recalled %q, want r1 once", recalled)
		}
	})
}

func TestUnknownCallIsPublishedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{}
		d, c := open(t, p)
		<-time.After(3 * time.Second)
		_, _, published := p.snapshot()
		if !strings.HasPrefix(published, "r1 r2") {
			t.Fatalf("published %q, want r1 and then r2", published)
		}
		if v := shake(t, d, "r1", "w1", 1).Verdict; v != scheduler.Gone {
			t.Errorf("the old id: %s, want gone", v)
		}
		latest := published[strings.LastIndex(published, " ")+1:]
		if v := shake(t, d, latest, "w1", 2).Verdict; v != scheduler.Go {
			t.Errorf("the new id %s: %s, want go", latest, v)
		}
		if ev := next(t, c); ev.Kind != scheduler.CallGranted {
			t.Errorf("got %+v, want granted", ev)
		}
		c.Cancel()
	})
}

func TestKnownCallIsNotPublishedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peers{known: map[string]scheduler.Notice{"r1": {ID: "r1", Kind: scheduler.NoticeQueued, Position: 7, ETA: time.Second}}}
		_, c := open(t, p)
		<-time.After(20 * time.Second)
		if _, _, published := p.snapshot(); published != "r1" {
			t.Errorf("published %q, want r1 once", published)
		}
		if ev := next(t, c); ev.Kind != scheduler.CallQueued || ev.Position != 7 {
			t.Errorf("got %+v, want position 7", ev)
		}
		c.Cancel()
	})
}

func TestSilenceAfterTheFirstByteEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := open(t, &peers{})
		shake(t, d, "r1", "w1", 1)
		if err := d.Frame(frame(scheduler.FrameHead, 1, 0)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		next(t, c)
		next(t, c)
		if ev := next(t, c); ev.Kind != scheduler.CallProblem || ev.Problem.Code != scheduler.CodeAnswerLost {
			t.Errorf("got %+v, want answer_lost", ev)
		}
		if took := time.Since(start); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("given up after %s, want about 6 beats of 500 ms", took)
		}
	})
}

func TestNobodyAnswersUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := open(t, &peers{noLeader: true})
		ev := next(t, c)
		if ev.Kind != scheduler.CallProblem || ev.Problem.Code != scheduler.CodeQueueTimeout || !ev.Problem.NoRetry {
			t.Errorf("got %+v, want queue_timeout without a retry", ev)
		}
	})
}

func TestRefusedPublish(t *testing.T) {
	p := &peers{publish: errors.New("no answer")}
	d := New(Config{ID: "px", Streams: map[string]Publisher{"main": p}, Bus: p, NewID: func() string { return "r1" }})
	d.Start(t.Context())
	defer d.Stop()
	_, err := d.Submit(t.Context(), &scheduler.Submission{Entry: scheduler.Entry{Pool: "main"}})
	var problem *scheduler.Problem
	if !errors.As(err, &problem) || problem.Reason != scheduler.ReasonStore || d.Open() != 0 {
		t.Errorf("got %v with %d calls open, want a refusal for the store", err, d.Open())
	}
}

// TestAPublishPastItsDeadlineIsNoFaultOfTheStore: else whoever wants to wait for less
// than a publish takes would raise the alarm.
func TestAPublishPastItsDeadlineIsNoFaultOfTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonStore, time.Second, "away")
		p := &peers{store: func(context.Context, string) error {
			<-time.After(time.Millisecond)
			return fmt.Errorf("%w: %w", context.DeadlineExceeded, away)
		}}
		d := New(Config{ID: "px", Streams: map[string]Publisher{"main": p}, Bus: p, NewID: func() string { return "r1" }})
		now := time.Now()
		_, err := d.Submit(t.Context(), &scheduler.Submission{Entry: scheduler.Entry{Pool: "main", AcceptedAt: now, Deadline: now.Add(100 * time.Microsecond)}})
		want := &scheduler.Problem{Code: scheduler.CodeQueueTimeout, NoRetry: true, Message: "the request waited 1 ms for its turn, as long as it may; please try again later"}
		if diff := cmp.Diff(error(want), err); diff != "" {
			t.Error(diff)
		}
		_, err = d.Submit(t.Context(), &scheduler.Submission{Entry: scheduler.Entry{Pool: "main", AcceptedAt: now, Deadline: now.Add(time.Minute)}})
		if problem, ok := errors.AsType[*scheduler.Problem](err); !ok || problem.Reason != scheduler.ReasonStore {
			t.Errorf("got %v, want a refusal for the store", err)
		}
	})
}

func TestStopTwice(t *testing.T) {
	d := New(Config{ID: "px", Bus: &peers{}})
	d.Start(t.Context())
	d.Start(t.Context())
	d.Stop()
	d.Stop()
}

// TestSlowClientFindsItsAnswerInFewPieces reads nothing while an answer comes.
func TestSlowClientFindsItsAnswerInFewPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, c := open(t, &peers{})
		d.cfg.MaxBuffer = 1 << 20
		shake(t, d, "r1", "w1", 1)
		var got, want strings.Builder
		for i := range 20_000 {
			f := frame(scheduler.FrameData, 1, uint32(i))
			f.Data = fmt.Appendf(nil, "%d ", i)
			want.Write(f.Data)
			if err := d.Frame(f); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Frame(frame(scheduler.FrameEnd, 1, 20_000)); err != nil {
			t.Fatal(err)
		}
		pieces := 0
		for ev := next(t, c); ev.Kind != scheduler.CallEnd; ev = next(t, c) {
			got.Write(ev.Data)
			pieces++
		}
		if got.String() != want.String() {
			t.Errorf("%d bytes came, want the %d that were sent", got.Len(), want.Len())
		}
		if most := 2 + 2*want.Len()/maxPiece; pieces > most {
			t.Errorf("in %d pieces, want at most %d", pieces, most)
		}
		if n := d.buffered.Load(); n != 0 {
			t.Errorf("%d bytes count as waiting after the end", n)
		}
	})
}
