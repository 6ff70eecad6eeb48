package broker

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
)

func TestReportAndItsErrors(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		d := newFakeDispatcher()
		report := bigReport(3)
		ctx := t.Context()
		at := e.here.Dispatcher("small")
		if err := at.Report(ctx, report); !errors.Is(err, scheduler.ErrNotLeader) {
			t.Errorf("with no leader: %v", err)
		}
		stop, err := e.there.ServeDispatcher("small", d)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{3, 2000} { // the second is more than one message takes, if it is not compressed
			report = bigReport(n)
			if err := at.Report(ctx, report); err != nil {
				t.Fatalf("report of %d: %v", n, err)
			}
			if diff := cmp.Diff(report, take(t, d.reports, "the report")); diff != "" {
				t.Errorf("the report changed on the way (-sent +got):\n%s", diff)
			}
		}
		d.err = scheduler.ErrNotLeader
		if err := at.Report(ctx, report); !errors.Is(err, scheduler.ErrNotLeader) {
			t.Errorf("a leader that is none any more: %v", err)
		}
		stop()
		if err := at.Report(ctx, report); !errors.Is(err, scheduler.ErrNotLeader) {
			t.Errorf("after the term: %v", err)
		}
		if err := e.here.Dispatcher("No Such").Report(ctx, report); !errors.Is(err, scheduler.ErrNotLeader) {
			t.Errorf("a pool that can't be: %v", err)
		}
	})
}

func bigReport(running int) *scheduler.Report {
	r := &scheduler.Report{
		Worker: "wk1", Pool: "small",
		Events: []scheduler.Event{{ID: "a", Kind: scheduler.EventEnd, Usage: scheduler.Usage{Input: 1, Output: 2}, Outcome: scheduler.Completed, TTFT: time.Second}},
		Beat:   &scheduler.Beat{Started: time.Unix(1_700_000_000, 5), LastGrant: 9},
	}
	for i := range running {
		r.Beat.Running = append(r.Beat.Running, scheduler.Running{Grant: *sampleGrant(uint64(i)), Sent: true, Generated: i})
	}
	return r
}

func TestReportsOfOneWorkerKeepTheirOrder(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		d := newFakeDispatcher()
		stopLater(t)(e.there.ServeDispatcher("small", d))
		for i := range 100 {
			r := &scheduler.Report{Worker: "wk1", Pool: "small", Events: []scheduler.Event{{ID: strconv.Itoa(i)}}}
			if err := e.here.Dispatcher("small").Report(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got := take(t, d.reports, "a report").Events[0].ID; got != strconv.Itoa(i) {
				t.Fatalf("report %s in place %d", got, i)
			}
		}
	})
}

func TestDispatcherVerbs(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		ctx, at := t.Context(), e.here.Dispatcher("small")
		_, err := at.Where(ctx, []string{"a"})
		for _, err := range []error{err, at.Cancel(ctx, "a"), at.ProxyBeat(ctx, "px", false)} {
			if !errors.Is(err, scheduler.ErrNotLeader) {
				t.Errorf("with no leader: %v", err)
			}
		}
		d := newFakeDispatcher()
		stopLater(t)(e.there.ServeDispatcher("small", d))
		if err := at.Cancel(ctx, "id-1"); err != nil || take(t, d.cancels, "the cancel") != "id-1" {
			t.Errorf("cancel: %v", err)
		}
		for _, leaving := range []bool{false, true} {
			if err := at.ProxyBeat(ctx, "px", leaving); err != nil {
				t.Error(err)
			}
			if got := take(t, d.beats, "the beat"); got != (proxyBeat{"px", leaving}) {
				t.Errorf("beat %+v", got)
			}
		}
		got, err := at.Where(ctx, []string{"a", "unknown", "b"})
		want := []scheduler.Notice{
			{ID: "a", Kind: scheduler.NoticeQueued, Position: 1, ETA: time.Second},
			{ID: "b", Kind: scheduler.NoticeQueued, Position: 3, ETA: time.Second},
		}
		if err != nil || !cmp.Equal(want, got) {
			t.Errorf("where: %v, %v", got, err)
		}
	})
}

// listing is a dispatcher that tells what it has of somebody.
type listing struct {
	*fakeDispatcher
	has map[string][]scheduler.Listed
}

func (l listing) List(_ context.Context, user string) ([]scheduler.Listed, error) {
	return l.has[user], l.err
}

func TestList(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		at := e.here.Lister("small")
		if _, err := at.List(t.Context(), "user:ann"); !errors.Is(err, scheduler.ErrNotLeader) {
			t.Errorf("with no leader: %v", err)
		}
		want := []scheduler.Listed{{ID: "a", Model: "m", Class: "c", Running: true, Waited: time.Second}, {ID: "b", Position: 2, ETA: time.Minute, NoBackend: true}}
		d := listing{newFakeDispatcher(), map[string][]scheduler.Listed{"user:ann": want}}
		stopLater(t)(e.there.ServeDispatcher("small", d))
		if got, err := at.List(t.Context(), "user:ann"); err != nil || !cmp.Equal(want, got) {
			t.Errorf("list: %+v, %v", got, err)
		}
		if got, err := at.List(t.Context(), "user:bob"); err != nil || len(got) != 0 {
			t.Errorf("of somebody else: %+v, %v", got, err)
		}
		d.err = scheduler.ErrNotLeader
		if _, err := at.List(t.Context(), "user:ann"); !errors.Is(err, scheduler.ErrNotLeader) {
			t.Errorf("a leader that is none any more: %v", err)
		}
	})
}

func TestServeTwice(t *testing.T) {
	onBothWays(t, func(t *testing.T, e ends) {
		t.Helper()
		stop, err := e.there.ServeDispatcher("small", newFakeDispatcher())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.there.ServeDispatcher("small", newFakeDispatcher()); err == nil {
			t.Error("a pool was led twice in one process")
		}
		stop()
		next := newFakeDispatcher()
		stopLater(t)(e.there.ServeDispatcher("small", next))
		stop() // of the former term: nothing
		if err := e.here.Dispatcher("small").Cancel(t.Context(), "id"); err != nil {
			t.Errorf("the next term is not heard: %v", err)
		}
	})
}
