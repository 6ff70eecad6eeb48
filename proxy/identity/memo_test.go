package identity

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oracle answers after a while with how often it was asked.
type oracle struct {
	takes time.Duration
	asked atomic.Int64
	err   error
}

func (o *oracle) ask(ctx context.Context) (answer[int64], error) {
	n := o.asked.Add(1)
	select {
	case <-time.After(o.takes):
	case <-ctx.Done():
		return answer[int64]{}, ctx.Err()
	}
	return answer[int64]{value: n, fresh: time.Minute, good: time.Hour}, o.err
}

// remembering is what a test of a memo has; told are its troubles.
type remembering struct {
	t    *testing.T
	m    *memo[int64]
	told *[]error
}

// remember runs f with a memo in fake time.
func remember(t *testing.T, f func(r remembering)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var told []error
		m := newMemo[int64](time.Second, func(err error) { told = append(told, err) })
		defer m.stop()
		f(remembering{t, m, &told})
	})
}

func wants(t *testing.T, m *memo[int64], key string, o *oracle, want int64, wait time.Duration) {
	t.Helper()
	begin := time.Now()
	got, err := m.get(t.Context(), key, o.ask)
	if waited := time.Since(begin); got != want || (err == nil) != (want != 0) || waited != wait {
		t.Errorf("%d, %v after %v; want %d after %v", got, err, waited, want, wait)
	}
}

func TestMemoWaitsOnlyForWhatIsUnknown(t *testing.T) {
	remember(t, func(r remembering) {
		t, m := r.t, r.m
		o := &oracle{takes: 300 * time.Millisecond}
		wants(t, m, "k", o, 1, 300*time.Millisecond)
		wants(t, m, "k", o, 1, 0)
		pass(time.Minute)
		wants(t, m, "k", o, 1, 0) // once more, while a new one is asked for
		wants(t, m, "k", o, 1, 0)
		pass(time.Second)
		wants(t, m, "k", o, 2, 0)
		if n := o.asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestMemoIsBounded(t *testing.T) {
	remember(t, func(r remembering) {
		t, m := r.t, r.m
		o := &oracle{}
		for n := range maxAnswers + 1000 {
			if _, err := m.get(t.Context(), strconv.Itoa(n), o.ask); err != nil {
				t.Fatal(err)
			}
		}
		if len(m.known) != maxAnswers || m.order.Len() != maxAnswers {
			t.Errorf("%d and %d are remembered", len(m.known), m.order.Len())
		}
	})
}

// TestMemoOfAServerThatHangs lets nobody wait for long, nobody wait after others
// did, and no more be asked at once than may.
func TestMemoOfAServerThatHangs(t *testing.T) {
	remember(t, func(r remembering) {
		t, m, told := r.t, r.m, r.told
		o := &oracle{takes: time.Hour}
		var all sync.WaitGroup
		for n := range 2 * maxAsking {
			all.Go(func() {
				begin := time.Now()
				if _, err := m.get(t.Context(), strconv.Itoa(n), o.ask); !errors.Is(err, errLate) || time.Since(begin) > m.wait {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
			})
		}
		all.Wait()
		if n := o.asked.Load(); n != maxAtOnce {
			t.Errorf("%d were asked at once", n)
		}
		wants(t, m, "another", o, 0, 0)
		pass(askTimeout)
		if len(*told) != 1 || m.trouble() == nil {
			t.Errorf("told %v", *told)
		}
		asked := o.asked.Load()
		wants(t, m, "yet another", o, 0, 0)
		if n := o.asked.Load(); n != asked {
			t.Error("it was not left alone")
		}
		pass(rest)
		o.takes = 0
		wants(t, m, "yet another", o, o.asked.Load()+1, 0)
		if len(*told) != 2 || (*told)[1] != nil || m.trouble() != nil {
			t.Errorf("told %v", *told)
		}
	})
}

// TestMemoWhileTheServerIsAway uses what is known, until that is too old.
func TestMemoWhileTheServerIsAway(t *testing.T) {
	remember(t, func(r remembering) {
		t, m, told := r.t, r.m, r.told
		o := &oracle{}
		wants(t, m, "k", o, 1, 0)
		o.err = errors.New("away")
		for range 30 {
			pass(time.Minute)
			wants(t, m, "k", o, 1, 0)
		}
		pass(time.Hour)
		wants(t, m, "k", o, 0, 0)
		if len(*told) != 1 {
			t.Errorf("told %v", *told)
		}
	})
}

func TestMemoStops(t *testing.T) {
	remember(t, func(r remembering) {
		t, m, told := r.t, r.m, r.told
		o := &oracle{takes: time.Hour}
		wants(t, m, "k", o, 0, time.Second)
		m.stop()
		m.stop()
		wants(t, m, "l", o, 0, 0)
		if o.asked.Load() != 1 || len(*told) != 0 {
			t.Errorf("asked %d times, told %v", o.asked.Load(), *told)
		}
	})
}
