package limit

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// harness is a store under test and its time.
type harness struct {
	*testing.T
	Store
	pass func(time.Duration)
	tick time.Duration // that its clock can tell
}

// storeTests are what every store has to hold. Each gets an empty one.
func storeTests() map[string]func(harness) {
	return map[string]func(harness){
		"N at once":                        testAtOnce,
		"at most 2N-1 in one period":       testPeriod,
		"burst":                            testBurst,
		"all or nothing":                   testAllOrNothing,
		"the longest wait":                 testLongestWait,
		"retry-after is exact":             testRetryAfter,
		"small costs of large limits":      testSmallCosts,
		"settle":                           testSettle,
		"debt":                             testDebt,
		"never":                            testNever,
		"look":                             testLook,
		"levels":                           testLevels,
		"keys":                             testKeys,
		"a limit that changes":             testChange,
		"a limit that goes up and down":    testUpAndDown,
		"one limit, many callers":          testConcurrent,
		"several limits, many callers":     testConcurrentSeveral,
		"burst of zero is none of its own": testNoBurst,
	}
}

func of(n int64, per time.Duration) Limit { return Limit{N: n, Period: per, Burst: n} }

// on is a charge on a caller's bucket.
func on(l Limit, cost int64) Charge {
	return Charge{Key: Key{Scope: "requests/*", Owner: "user:ann", Period: l.Period}, Limit: l, Cost: cost}
}

func (h harness) acquire(charges ...Charge) Result {
	h.Helper()
	r, err := h.Acquire(context.Background(), charges)
	if err != nil {
		h.Fatal(err)
	}
	if len(r.Levels) != len(charges) {
		h.Fatalf("%d levels of %d charges", len(r.Levels), len(charges))
	}
	return r
}

func (h harness) granted(charges ...Charge) Result {
	h.Helper()
	r := h.acquire(charges...)
	if !r.Granted || r.RetryAfter != 0 || r.Never {
		h.Fatalf("refused: %+v", r)
	}
	return r
}

func (h harness) refused(charges ...Charge) Result {
	h.Helper()
	r := h.acquire(charges...)
	if r.Granted {
		h.Fatalf("granted: %+v", r)
	}
	if !r.Never && r.RetryAfter <= 0 {
		h.Fatalf("no wait: %+v", r)
	}
	return r
}

func (h harness) settle(corrections ...Charge) {
	h.Helper()
	if err := h.Settle(context.Background(), corrections); err != nil {
		h.Fatal(err)
	}
}

// remains checks what is left of a bucket.
func (h harness) remains(c Charge, want int64) {
	h.Helper()
	c.Cost = 0
	if got := h.granted(c).Levels[0].Remaining; got != want {
		h.Fatalf("%d remain, want %d", got, want)
	}
}

func testAtOnce(h harness) {
	for _, l := range []Limit{of(1, time.Second), of(7, time.Minute), of(30, time.Minute), of(100, 7*day)} {
		for i := range l.N {
			if r := h.granted(on(l, 1)); r.Levels[0].Remaining != l.N-1-i {
				h.Fatalf("%v: %d remain after %d", l, r.Levels[0].Remaining, i+1)
			}
		}
		h.refused(on(l, 1))
		h.pass(l.Period)
	}
}

// testPeriod lets a caller take whatever it gets: nobody gets more.
func testPeriod(h harness) {
	for _, l := range []Limit{of(1, time.Second), of(7, time.Minute), of(30, time.Minute), of(49, 7*time.Hour)} {
		h.pass(time.Hour)
		for left, n := l.Period, int64(0); ; {
			r := h.acquire(on(l, 1))
			if r.Granted {
				n++
				continue
			}
			if left -= r.RetryAfter; left <= 0 {
				if n != 2*l.N-1 {
					h.Fatalf("%v: %d in one period, want %d", l, n, 2*l.N-1)
				}
				break
			}
			h.pass(r.RetryAfter)
		}
	}
}

func testBurst(h harness) {
	l := Limit{N: 30, Period: time.Minute, Burst: 5}
	for range 5 {
		h.granted(on(l, 1))
	}
	if r := h.refused(on(l, 1)); r.RetryAfter != 2*time.Second || r.Levels[0] != (Level{Limit: 5, Reset: 10 * time.Second}) {
		h.Errorf("%+v", r)
	}
	h.pass(time.Hour)
	h.granted(on(l, 5))
	h.refused(on(l, 1))

	l = Limit{N: 30, Period: time.Hour, Burst: 50}
	h.granted(on(l, 50))
	h.refused(on(l, 1))
}

func testNoBurst(h harness) {
	l := Limit{N: 3, Period: time.Minute}
	h.granted(on(l, 3))
	h.refused(on(l, 1))
}

func testAllOrNothing(h harness) {
	fast, slow := of(5, time.Second), of(8, time.Minute)
	h.granted(on(fast, 5), on(slow, 5))
	for range 10 {
		if r := h.refused(on(fast, 1), on(slow, 1)); r.Refused != 0 || r.RetryAfter != 200*time.Millisecond {
			h.Fatalf("%+v", r)
		}
	}
	h.remains(on(slow, 0), 3)
	h.pass(time.Second)
	h.granted(on(fast, 3), on(slow, 3))
	for range 10 {
		if r := h.refused(on(fast, 1), on(slow, 1)); r.Refused != 1 {
			h.Fatalf("%+v", r)
		}
	}
	h.remains(on(fast, 0), 2)
}

func testLongestWait(h harness) {
	fast, slow := of(5, time.Second), of(8, time.Minute)
	h.granted(on(fast, 5))
	h.granted(on(slow, 8))
	want := 7500 * time.Millisecond
	if r := h.refused(on(fast, 1), on(slow, 1)); r.Refused != 1 || r.RetryAfter != want {
		h.Errorf("%+v", r)
	}
	if r := h.refused(on(slow, 1), on(fast, 1)); r.Refused != 0 || r.RetryAfter != want {
		h.Errorf("%+v", r)
	}
}

func testRetryAfter(h harness) {
	for _, l := range []Limit{of(7, time.Minute), of(30, time.Minute), of(90_001, time.Hour), {N: 11, Period: time.Minute, Burst: 3}} {
		cost := min(2, l.Burst)
		h.granted(on(l, l.Burst-1))
		for range 5 {
			r := h.refused(on(l, cost))
			h.pass(r.RetryAfter - h.tick)
			if r := h.refused(on(l, cost)); r.RetryAfter != h.tick {
				h.Fatalf("%v: %v is left", l, r.RetryAfter)
			}
			h.pass(h.tick)
			h.granted(on(l, cost))
		}
		h.pass(l.Period)
	}
}

// testSmallCosts lets a thousand single tokens through a limit that lets one
// through every 8.57 µs.
func testSmallCosts(h harness) {
	l := of(7_000_000, time.Minute)
	h.granted(on(l, l.N))
	var waited time.Duration
	for range 1000 {
		for {
			r := h.acquire(on(l, 1))
			if r.Granted {
				break
			}
			waited += r.RetryAfter
			h.pass(r.RetryAfter)
		}
	}
	if want := time.Minute * 1000 / 7_000_000; waited < want || waited > want+2*h.tick {
		h.Errorf("waited %v, want %v", waited, want)
	}
}

func testSettle(h harness) {
	l := of(1000, time.Minute)
	h.granted(on(l, 600))
	h.settle(on(l, -500))
	h.remains(on(l, 0), 900)
	h.settle(on(l, 300))
	h.remains(on(l, 0), 600)
	h.settle(on(l, 0))
	h.remains(on(l, 0), 600)
	h.settle(on(l, -5000)) // never above full
	h.remains(on(l, 0), 1000)
	h.settle(on(l, -1))
	h.granted(on(l, 1000))
	h.refused(on(l, 1))

	h.pass(time.Hour)
	other := of(10, time.Hour)
	h.settle(on(l, 100), on(other, 4)) // what was reserved long ago
	h.remains(on(l, 0), 900)
	h.remains(on(other, 0), 6)
}

func testDebt(h harness) {
	l := of(60, time.Minute)
	h.granted(on(l, 60))
	h.settle(on(l, 30))
	if r := h.refused(on(l, 1)); r.RetryAfter != 31*time.Second || r.Levels[0] != (Level{Limit: 60, Reset: 90 * time.Second}) {
		h.Errorf("%+v", r)
	}
	h.remains(on(l, 0), 0) // looking is free in debt, too
	h.pass(30 * time.Second)
	h.remains(on(l, 0), 0)
	h.pass(time.Second)
	h.granted(on(l, 1))
	h.settle(on(l, 1<<60))
	h.refused(on(l, 1))
	h.settle(on(l, 1<<60), on(of(1, 30*day), 1<<60))
	h.refused(on(l, 1))
}

func testNever(h harness) {
	fast, slow := of(5, time.Second), Limit{N: 100, Period: time.Minute, Burst: 10}
	h.granted(on(fast, 5))
	if r := h.refused(on(fast, 1), on(slow, 11)); !r.Never || r.Refused != 1 || r.RetryAfter != 0 || r.Levels[1].Remaining != 10 {
		h.Errorf("%+v", r)
	}
	if r := h.refused(on(slow, 11), on(fast, 1)); !r.Never || r.Refused != 0 || r.RetryAfter != 0 || r.Levels[1].Limit != 5 {
		h.Errorf("%+v", r)
	}
	h.remains(on(slow, 0), 10)
	h.granted(on(slow, 10))
}

func testLook(h harness) {
	l := of(3, time.Minute)
	for range 10 {
		h.remains(on(l, 0), 3)
	}
	h.granted(on(l, 3))
	h.remains(on(l, 0), 0)
	if r := h.granted(); len(r.Levels) != 0 {
		h.Errorf("%+v", r)
	}
	h.settle()
}

func testLevels(h harness) {
	l := of(30, time.Minute)
	steps := []struct {
		pass time.Duration
		cost int64
		want Level
	}{
		{0, 0, Level{30, 30, 0}},
		{0, 1, Level{30, 29, 2 * time.Second}},
		{0, 4, Level{30, 25, 10 * time.Second}},
		{time.Second, 0, Level{30, 25, 9 * time.Second}},
		{time.Second, 0, Level{30, 26, 8 * time.Second}},
		{0, 26, Level{30, 0, time.Minute}},
		{0, 1, Level{30, 0, time.Minute}},
		{time.Minute, 0, Level{30, 30, 0}},
	}
	for i, step := range steps {
		h.pass(step.pass)
		if got := h.acquire(on(l, step.cost)).Levels[0]; got != step.want {
			h.Errorf("step %d: %+v, want %+v", i, got, step.want)
		}
	}
}

func testKeys(h harness) {
	l := of(1, time.Minute)
	keys := []Key{
		{Scope: "a", Owner: "b", Period: l.Period},
		{Scope: "ab", Period: l.Period},
		{Owner: "ab", Period: l.Period},
		{Scope: "b", Owner: "a", Period: l.Period},
		{Scope: "a", Owner: "b", Period: time.Hour},
		{Scope: "a", Owner: "b", Period: l.Period, Nth: 1},
	}
	for _, k := range keys {
		h.granted(Charge{Key: k, Limit: l, Cost: 1})
	}
	for _, k := range keys {
		h.refused(Charge{Key: k, Limit: l, Cost: 1})
	}
}

// testChange finds what was used under a limit that is another now.
func testChange(h harness) {
	l := of(7, time.Minute)
	h.granted(on(l, 1))
	l = of(14, time.Minute)
	h.remains(on(l, 0), 11) // not 12: the fraction is rounded up
	l = of(7, time.Minute)
	h.granted(on(l, 6))
	if r := h.refused(on(of(1, time.Minute), 1)); r.RetryAfter > time.Minute {
		h.Errorf("%+v", r)
	}
}

// testUpAndDown changes the limit before every attempt, as the load does: in no period
// more than a burst and a period's worth of the largest is granted, and in each one that
// of the smallest is.
func testUpAndDown(h harness) {
	const n = 20
	rates := []float64{2, 0.5, 1, 1.5, 0.7}
	every, within := 500*time.Millisecond, 0
	var granted []int
	for i := range 4 * int(time.Minute/every) {
		one := 0
		for h.acquire(on(of(n, time.Minute).Times(rates[i%len(rates)]), 1)).Granted {
			one++
		}
		granted = append(granted, one)
		h.pass(every)
	}
	period := int(time.Minute / every)
	for i := range granted {
		if within += granted[i]; i >= period {
			within -= granted[i-period]
		}
		if within > 2*2*n-1 {
			h.Fatalf("%d in the minute before %d", within, i)
		}
		if i >= period && within < n/2 {
			h.Fatalf("only %d in the minute before %d", within, i)
		}
	}
}

// together lets 16 goroutines try 500 times each.
func together(try func(i int) bool) int64 {
	var granted atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range 16 {
		wg.Go(func() {
			<-begin
			for range 500 {
				if try(i) {
					granted.Add(1)
				}
			}
		})
	}
	close(begin)
	wg.Wait()
	return granted.Load()
}

func testConcurrent(h harness) {
	l := of(6000, 30*day)
	n := together(func(int) bool { return h.acquire(on(l, 1)).Granted })
	if n != 6000 {
		h.Errorf("%d were granted", n)
	}
}

// testConcurrentSeveral has callers that share one limit beside their own, in
// either order.
func testConcurrentSeveral(h harness) {
	own, shared := of(400, 30*day), of(5000, 30*day)
	var each [16]atomic.Int64
	n := together(func(i int) bool {
		a, b := on(own, 1), on(shared, 1)
		a.Key.Owner = string(rune('a' + i))
		if i%2 == 0 {
			a, b = b, a
		}
		ok := h.acquire(a, b).Granted
		if ok {
			each[i].Add(1)
		}
		return ok
	})
	if n != 5000 {
		h.Errorf("%d were granted of what is shared", n)
	}
	for i := range each {
		if got := each[i].Load(); got > 400 {
			h.Errorf("caller %d got %d", i, got)
		}
	}
	h.remains(on(shared, 0), 0)
	var counts []int64
	for i := range each {
		c := on(own, 0)
		c.Key.Owner = string(rune('a' + i))
		counts = append(counts, 400-h.granted(c).Levels[0].Remaining)
	}
	var want []int64
	for i := range each {
		want = append(want, each[i].Load())
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		h.Errorf("a refusal consumed something (-want +got):\n%s", diff)
	}
}
