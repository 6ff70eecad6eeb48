package limit

import (
	"context"
	"math/big"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryHoldsTheContract(t *testing.T) {
	t.Parallel()
	for name, test := range storeTests() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := NewMemory(MemoryConfig{})
				m.Start()
				defer m.Stop()
				test(harness{T: t, Store: m, pass: func(d time.Duration) { <-time.After(d) }, tick: 1})
			})
		})
	}
}

// byHand is a memory whose time a test moves.
func byHand(cfg MemoryConfig) (m *Memory, now *time.Time) {
	now = new(time.Unix(1_800_000_000, 0))
	cfg.Now = func() time.Time { return *now }
	return NewMemory(cfg), now
}

// oracle is a bucket in rational numbers, filled step by step.
type oracle struct {
	limit Limit
	level *big.Rat
}

func newOracle(l Limit) *oracle { return &oracle{l, big.NewRat(l.Burst, 1)} }

func (o *oracle) pass(d time.Duration) {
	flow := big.NewRat(int64(d), int64(o.limit.Period))
	o.move(flow.Mul(flow, big.NewRat(o.limit.N, 1)))
}

func (o *oracle) move(by *big.Rat) {
	o.level.Add(o.level, by)
	if full := big.NewRat(o.limit.Burst, 1); o.level.Cmp(full) > 0 {
		o.level = full
	}
}

// wait is how long until cost is there, rounded up.
func (o *oracle) wait(cost int64) time.Duration {
	missing := new(big.Rat).Sub(big.NewRat(cost, 1), o.level)
	if missing.Sign() <= 0 {
		return 0
	}
	missing.Mul(missing, big.NewRat(int64(o.limit.Period), o.limit.N))
	q, r := new(big.Int).QuoRem(missing.Num(), missing.Denom(), new(big.Int))
	if r.Sign() > 0 {
		q.Add(q, big.NewInt(1))
	}
	return time.Duration(q.Int64())
}

func (o *oracle) remaining() int64 {
	if o.level.Sign() < 0 {
		return 0
	}
	return new(big.Int).Quo(o.level.Num(), o.level.Denom()).Int64()
}

func drawLimit(t *rapid.T) Limit {
	l := Limit{
		N:      rapid.OneOf(rapid.Int64Range(1, 12), rapid.Int64Range(1, 1e7), rapid.Int64Range(1, most)).Draw(t, "n"),
		Period: rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 7 * time.Hour, day, 30 * day}).Draw(t, "period"),
	}
	l.Burst = l.N
	if rapid.Bool().Draw(t, "own burst") {
		l.Burst = rapid.Int64Range(1, min(most, 20*l.N)).Draw(t, "burst")
	}
	return l
}

// TestMemoryIsExact walks at random beside buckets of rational numbers.
func TestMemoryIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, now := byHand(MemoryConfig{})
		limits := rapid.SliceOfN(rapid.Custom(drawLimit), 1, 4).Draw(t, "limits")
		var oracles []*oracle
		for _, l := range limits {
			oracles = append(oracles, newOracle(l))
		}
		charge := func(i int, most int64) Charge {
			cost := rapid.OneOf(rapid.Int64Range(0, min(3, most)), rapid.Int64Range(0, most)).Draw(t, "cost")
			return Charge{Key: Key{Scope: "s", Period: limits[i].Period, Nth: i}, Limit: limits[i], Cost: cost}
		}
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				d := time.Duration(rapid.OneOf(rapid.Int64Range(0, 1e6), rapid.Int64Range(0, int64(2*time.Hour))).Draw(t, "pass"))
				*now = now.Add(d)
				for _, o := range oracles {
					o.pass(d)
				}
			case 1:
				i := rapid.IntRange(0, len(limits)-1).Draw(t, "i")
				c := charge(i, limits[i].Burst)
				if rapid.Bool().Draw(t, "back") {
					c.Cost = -c.Cost
				}
				if err := m.Settle(context.Background(), []Charge{c}); err != nil {
					t.Fatal(err)
				}
				oracles[i].move(big.NewRat(-c.Cost, 1))
			default:
				var charges []Charge
				for i := range limits {
					charges = append(charges, charge(i, limits[i].Burst))
				}
				acquireBeside(t, m, oracles, charges)
			}
		}
	})
}

func acquireBeside(t *rapid.T, m *Memory, oracles []*oracle, charges []Charge) {
	r, err := m.Acquire(context.Background(), charges)
	if err != nil {
		t.Fatal(err)
	}
	var wait time.Duration
	for i, c := range charges {
		if c.Cost > 0 {
			wait = max(wait, oracles[i].wait(c.Cost))
		}
	}
	if r.Granted != (wait == 0) || r.RetryAfter != wait || r.Never {
		t.Fatalf("%+v, want a wait of %v", r, wait)
	}
	for i, c := range charges {
		if r.Granted {
			oracles[i].move(big.NewRat(-c.Cost, 1))
		}
		want := Level{Limit: c.Limit.Burst, Remaining: oracles[i].remaining(), Reset: oracles[i].wait(c.Limit.Burst)}
		if r.Levels[i] != want {
			t.Fatalf("level %d of %+v: want %+v", i, r, want)
		}
	}
}

// TestMemoryNeverGrantsMore lets a greedy caller loose on any limit: in any
// period it gets at most Burst + N - 1.
func TestMemoryNeverGrantsMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m, now := byHand(MemoryConfig{})
		l := Limit{N: rapid.Int64Range(1, 40).Draw(t, "n"), Period: time.Duration(rapid.Int64Range(1, 1e10).Draw(t, "period")), Burst: rapid.Int64Range(1, 60).Draw(t, "burst")}
		var at []time.Time // of each that was granted
		for range 200 {
			r, err := m.Acquire(context.Background(), []Charge{on(l, 1)})
			if err != nil {
				t.Fatal(err)
			}
			if r.Granted {
				at = append(at, *now)
				continue
			}
			idle := rapid.SampledFrom([]time.Duration{0, 0, 0, 1, l.Period / 3, l.Period}).Draw(t, "idle")
			*now = now.Add(r.RetryAfter + idle)
		}
		for i := range at {
			if j := i + int(l.Burst+l.N) - 1; j < len(at) && at[j].Sub(at[i]) < l.Period {
				t.Fatalf("%v: %d within %v", l, j-i+1, at[j].Sub(at[i]))
			}
		}
	})
}

func caller(i int, l Limit, cost int64) Charge {
	c := on(l, cost)
	c.Key.Owner = "ip:" + strconv.Itoa(i)
	return c
}

func TestMemoryForgetsWhatIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		m.Start()
		m.Start()
		h := harness{T: t, Store: m}
		for i := range 100_000 {
			h.granted(caller(i, of(10, time.Minute), 1))
		}
		h.granted(caller(-1, of(10, time.Hour), 1))
		h.granted(caller(-2, of(10, time.Hour), 1))
		h.settle(caller(-2, of(10, time.Hour), -1))
		if n := m.Len(); n != 100_001 {
			t.Errorf("%d are kept", n)
		}
		<-time.After(20 * time.Second)
		synctest.Wait()
		if n := m.Len(); n != 1 {
			t.Errorf("%d are kept", n)
		}
		for i := range m.shards {
			if s := &m.shards[i]; s.peak > 1 {
				t.Fatalf("a map that was made for %d holds %d", s.peak, len(s.marks))
			}
		}
		m.Stop()
		select {
		case <-m.stopped:
		default:
			t.Error("Stop did not wait")
		}
		m.Stop()
		h.remains(caller(-1, of(10, time.Hour), 0), 9)
	})
}

func TestMemoryIsStoppedWithoutStart(t *testing.T) {
	t.Parallel()
	m := NewMemory(MemoryConfig{})
	m.Stop()
	m.Start()
	m.Stop()
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	m, now := byHand(MemoryConfig{Most: 6400})
	h := harness{T: t, Store: m}
	l := of(100, time.Hour)
	for i := range 100 { // who have taken much
		h.granted(caller(-i, l, 100))
	}
	for i := range 100_000 {
		h.granted(caller(1+i, l, 1))
		if i%1000 == 0 && m.Len() > 6400 {
			t.Fatalf("%d are kept", m.Len())
		}
	}
	if n := m.Len(); n < 6300 || n > 6400 {
		t.Errorf("%d are kept", n)
	}
	for i := range 100 {
		h.refused(caller(-i, l, 1)) // a flood frees nobody
	}
	*now = now.Add(2 * time.Hour)
	for i := range 1000 {
		h.granted(caller(1_000_000+i, l, 1))
	}
	if n := m.Len(); n > 6400 {
		t.Errorf("%d are kept", n)
	}
}

func TestMemoryWhoseClockIsSetBack(t *testing.T) {
	t.Parallel()
	m, now := byHand(MemoryConfig{})
	h := harness{T: t, Store: m}
	*now = now.Add(time.Second)
	h.granted(on(of(10, time.Minute), 10))
	*now = now.Add(-time.Hour)
	if r := h.refused(on(of(10, time.Minute), 1)); r.RetryAfter != 7*time.Second {
		t.Errorf("%+v", r)
	}
}
