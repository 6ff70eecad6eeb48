package turn_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fairlane/scheduler"
	"fairlane/scheduler/turn"
)

// The states that marks tell apart.
const (
	idle = iota
	between
	loaded
)

// measure is a reading that is in such a state.
func measure(t *rapid.T, m turn.Marks, state int, label string) (r turn.Reading) {
	r.Short = state != idle && rapid.Bool().Draw(t, label+" short")
	r.KV, r.Wait = amounts(t, m, state, label)
	if state == between && r.Short && rapid.Bool().Draw(t, label+" by short") {
		r.KV, r.Wait = amounts(t, m, idle, label)
	}
	return r
}

func amounts(t *rapid.T, m turn.Marks, state int, label string) (kv float64, wait time.Duration) {
	waits := func(from, to time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(from), int64(to)).Draw(t, label+" wait"))
	}
	switch state {
	case idle:
		return rapid.Float64Range(0, m.KVLow).Draw(t, label+" kv"), waits(0, m.WaitLow)
	case loaded:
		if rapid.Bool().Draw(t, label+" by wait") {
			return rapid.Float64Range(0, 2).Draw(t, label+" kv"), waits(m.WaitHigh, time.Hour)
		}
		return rapid.Float64Range(m.KVHigh, 2).Draw(t, label+" kv"), waits(0, time.Hour)
	default: // one of the two is between, and the other not high
		below := math.Nextafter(m.KVHigh, 0)
		if rapid.Bool().Draw(t, label+" by wait") {
			return rapid.Float64Range(0, below).Draw(t, label+" kv"), waits(m.WaitLow+1, m.WaitHigh-1)
		}
		return rapid.Float64Range(math.Nextafter(m.KVLow, 1), below).Draw(t, label+" kv"), waits(0, m.WaitHigh-1)
	}
}

func marks(t *rapid.T) turn.Marks {
	m := turn.Marks{
		KVLow:   rapid.Float64Range(0, 0.8).Draw(t, "kv low"),
		WaitLow: time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "wait low")),
	}
	m.KVHigh = m.KVLow + rapid.Float64Range(0.01, 0.2).Draw(t, "kv band")
	m.WaitHigh = m.WaitLow + time.Duration(rapid.Int64Range(2, int64(time.Minute)).Draw(t, "wait band"))
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestLoadAgainstItsWords: an oracle that looks back at the whole past of states says
// when a step is due, and each is of one, within the bounds, and in no other place.
func TestLoadAgainstItsWords(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, now := marks(t), time.Unix(1_000_000, 0)
		var l turn.Load
		began, was, want := now, between, 0
		for range rapid.IntRange(1, 200).Draw(t, "ticks") {
			now = now.Add(time.Duration(rapid.IntRange(1, 3000).Draw(t, "gap")) * time.Millisecond)
			state := rapid.SampledFrom([]int{was, was, was, idle, between, loaded}).Draw(t, "state")
			r := measure(t, m, state, "now")
			if state != was {
				was, began = state, now
			}
			patience := map[int]time.Duration{idle: 10 * time.Second, loaded: 2 * time.Second}[state]
			if patience > 0 && now.Sub(began) >= patience {
				want, began = min(max(want+state-between, -scheduler.MostLoad), scheduler.MostLoad), now
			}
			l.Tick(now, m, r)
			if l.Level() != want {
				t.Fatalf("level %d, expected %d", l.Level(), want)
			}
		}
	})
}

// TestLoadIsMonotone: who is at least as loaded at all times never has the lower level.
func TestLoadIsMonotone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, now := marks(t), time.Unix(1_000_000, 0)
		var less, more turn.Load
		for range rapid.IntRange(1, 300).Draw(t, "ticks") {
			now = now.Add(time.Duration(rapid.IntRange(100, 3000).Draw(t, "gap")) * time.Millisecond)
			r := measure(t, m, rapid.IntRange(idle, loaded).Draw(t, "state"), "less")
			less.Tick(now, m, r)
			r.KV += rapid.Float64Range(0, 0.5).Draw(t, "more kv")
			r.Wait += time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "more wait"))
			r.Short = r.Short || rapid.Bool().Draw(t, "more short")
			more.Tick(now, m, r)
			if less.Level() > more.Level() {
				t.Fatalf("the less loaded is at %d, the more loaded at %d", less.Level(), more.Level())
			}
		}
	})
}

// TestLoadSettles: while things stay as they are it moves one way, and then not at all.
func TestLoadSettles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, now := marks(t), time.Unix(1_000_000, 0)
		state := rapid.IntRange(idle, loaded).Draw(t, "state")
		r := measure(t, m, state, "always")
		var l turn.Load
		start := rapid.IntRange(-scheduler.MostLoad, scheduler.MostLoad).Draw(t, "start")
		l.Resume(start)
		last := start
		for range 300 {
			now = now.Add(time.Second)
			l.Tick(now, m, r)
			if way := l.Level() - last; way*(state-between) < 0 || way != 0 && state == between {
				t.Fatalf("from %d to %d in state %d", last, l.Level(), state)
			}
			last = l.Level()
		}
		if want := map[int]int{idle: -scheduler.MostLoad, between: start, loaded: scheduler.MostLoad}[state]; last != want {
			t.Fatalf("settled at %d, expected %d", last, want)
		}
	})
}

// TestLoadIgnoresFlicker: what does not last for two seconds above, or ten below,
// moves nothing; nor does a clock that steps back, or a number that is none.
func TestLoadIgnoresFlicker(t *testing.T) {
	t.Parallel()
	m, now := turn.DefaultMarks(), time.Unix(1_000_000, 0)
	var l turn.Load
	for i := range 1000 {
		now = now.Add(time.Second)
		if i%100 == 50 {
			now = now.Add(-time.Hour)
		}
		switch {
		case i%10 < 2:
			l.Tick(now, m, turn.Reading{KV: 0.95})
		case i%10 == 5:
			l.Tick(now, m, turn.Reading{KV: math.NaN()})
		default:
			l.Tick(now, m, turn.Reading{KV: 0.1})
		}
		if l.Level() != 0 {
			t.Fatalf("level %d after %d ticks", l.Level(), i)
		}
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	if err := turn.DefaultMarks().Validate(); err != nil {
		t.Error(err)
	}
	good := turn.DefaultMarks()
	for name, wrong := range map[string]func(*turn.Marks){
		"load.kv_low: 0.9 is not below kv_high, which is 0.9":      func(m *turn.Marks) { m.KVLow = m.KVHigh },
		"load.kv_low: NaN is not below kv_high":                    func(m *turn.Marks) { m.KVLow = math.NaN() },
		"load.kv_high: the marks 0.7 and 1.5 are no parts":         func(m *turn.Marks) { m.KVHigh = 1.5 },
		"load.kv_high: the marks -1 and 0.9 are no parts":          func(m *turn.Marks) { m.KVLow = -1 },
		"load.wait_low: 11s is not below wait_high, which is 10s":  func(m *turn.Marks) { m.WaitLow = 11 * time.Second },
		"load.wait_low: -1s is not below wait_high, which is 10s":  func(m *turn.Marks) { m.WaitLow = -time.Second },
		"load.wait_low: 2s is not below wait_high, which is 0s":    func(m *turn.Marks) { m.WaitHigh = 0 },
		"load.wait_low: 2s is not below wait_high, which is -10s:": func(m *turn.Marks) { m.WaitHigh = -m.WaitHigh },
	} {
		m := good
		wrong(&m)
		if err := m.Validate(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%+v: %v, expected %q", m, err, name)
		}
	}
}
