package limit

import (
	"context"
	"crypto/x509"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"fairlane/proxy/limit/redistest"
)

// epoch is when a test's time begins, in microseconds.
const epoch = int64(1_800_000_000_000_000)

// dial opens a connection for a test.
func dial(tb testing.TB, address string) redis.UniversalClient {
	tb.Helper()
	db, err := Address{URL: address + "?read_timeout=1m&dial_timeout=1m&pool_timeout=1m"}.Dial() // the machine may be busy
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return db
}

// handClock is the script with a clock in a key, so that a test moves the time
// of a real server. Levels are kept for an hour more, for the server's own clock
// goes on.
func handClock(tb testing.TB) string {
	tb.Helper()
	s := source
	for old, with := range map[string]string{
		"redis.call('TIME')":             "{0, redis.call('GET', 'test:now')}",
		"local keep = tonumber(ARGV[2])": "local keep = 3600000",
	} {
		if strings.Count(s, old) != 1 {
			tb.Fatalf("the script has no %s any more", old)
		}
		s = strings.Replace(s, old, with, 1)
	}
	return s
}

// byServer is a store whose time a test moves.
func byServer(tb testing.TB, db redis.UniversalClient) (r *Redis, pass func(time.Duration)) {
	tb.Helper()
	var now atomic.Int64
	pass = func(d time.Duration) {
		if err := db.Set(context.Background(), "test:now", now.Add(int64(d/time.Microsecond)), 0).Err(); err != nil {
			tb.Error(err)
		}
	}
	pass(time.Duration(epoch) * time.Microsecond)
	r = NewRedis(RedisConfig{Wait: time.Minute, source: handClock(tb)}, db)
	r.denied.now = func() time.Time { return time.UnixMicro(now.Load()) } // what is remembered is compared with the same time
	return r, pass
}

func TestRedisHoldsTheContract(t *testing.T) {
	server := redistest.Start(t)
	holdsTheContract(t, server.Addr)
}

func TestMiniredisHoldsTheContract(t *testing.T) {
	holdsTheContract(t, miniredis.RunT(t).Addr())
}

func holdsTheContract(t *testing.T, addr string) {
	t.Helper()
	db := dial(t, "redis://"+addr)
	for name, test := range storeTests() {
		t.Run(name, func(t *testing.T) {
			if err := db.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			r, pass := byServer(t, db)
			test(harness{T: t, Store: r, pass: pass, tick: time.Microsecond})
		})
	}
}

// TestRedisNeverGivesOneMore uses the server's own clock, without what is
// remembered here.
func TestRedisNeverGivesOneMore(t *testing.T) {
	t.Parallel()
	db := dial(t, redistest.Start(t).URL())
	a, b := NewRedis(RedisConfig{Wait: time.Minute}, db), NewRedis(RedisConfig{Wait: time.Minute}, db)
	l := of(400, 30*day)
	n := together(func(i int) bool {
		r := a
		if i%2 == 0 {
			r = b
		}
		res, err := r.Acquire(t.Context(), []Charge{on(l, 1), caller(i, of(30, 30*day), 1)})
		if err != nil {
			t.Error(err)
		}
		return res.Granted
	})
	if n != 400 {
		t.Errorf("%d were granted", n)
	}
	key := on(l, 1).Key
	name := key.redis()
	if ttl := db.PTTL(t.Context(), name).Val(); ttl < 29*day || ttl > 31*day {
		t.Errorf("the level is kept for %v", ttl)
	}
	if err := a.Settle(t.Context(), []Charge{on(l, -1000)}); err != nil {
		t.Fatal(err)
	}
	if n := db.Exists(t.Context(), name).Val(); n != 0 {
		t.Error("a full bucket is kept")
	}
}

// TestRedisIsAsExactAsMemory does the same in both, at the same times.
func TestRedisIsAsExactAsMemory(t *testing.T) {
	t.Parallel()
	db := dial(t, redistest.Start(t).URL())
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		r, pass := byServer(t, db)
		m, now := byHand(MemoryConfig{})
		limits := rapid.SliceOfN(rapid.Custom(drawLimit), 1, 3).Draw(rt, "limits")
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			d := time.Duration(rapid.Int64Range(0, int64(2*limits[0].Period/time.Microsecond)).Draw(rt, "pass")) * time.Microsecond
			pass(d)
			*now = now.Add(d)
			charges := make([]Charge, len(limits))
			for i, l := range limits {
				charges[i] = Charge{Key: Key{Scope: "s", Owner: strconv.Itoa(run), Period: l.Period, Nth: i}, Limit: l, Cost: rapid.Int64Range(0, l.Room()+1).Draw(rt, "cost")}
			}
			if rapid.Bool().Draw(rt, "settle") {
				for i := range charges {
					charges[i].Cost = rapid.Int64Range(-limits[i].Room(), limits[i].Room()).Draw(rt, "correction")
				}
				if err := r.Settle(context.Background(), charges); err != nil {
					rt.Fatal(err)
				}
				_ = m.Settle(context.Background(), charges)
				continue
			}
			got, err := r.Acquire(context.Background(), charges)
			if err != nil {
				rt.Fatal(err)
			}
			want, _ := m.Acquire(context.Background(), charges)
			if diff := cmp.Diff(want, got, cmp.Comparer(microsecondsApart)); diff != "" {
				rt.Fatalf("-memory +redis\n%s", diff)
			}
		}
	})
}

func microsecondsApart(a, b time.Duration) bool { return (a - b).Abs() <= time.Microsecond }

func TestKeysInRedis(t *testing.T) {
	t.Parallel()
	for want, k := range map[string]Key{
		"fairlane:level:{user:ann}:of:requests/*:1m0s":     {Scope: "requests/*", Owner: "user:ann", Period: time.Minute},
		"fairlane:level:{user:ann}:of:requests/*:1h0m0s:2": {Scope: "requests/*", Owner: "user:ann", Period: time.Hour, Nth: 2},
		"fairlane:level:{requests/*}:shared:1m0s":          {Scope: "requests/*", Period: time.Minute},
	} {
		if got := k.redis(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	k := Key{Scope: "{", Owner: "}{%", Period: time.Minute}
	if got, want := k.redis(), "fairlane:level:{%7d%7b%25}:of:{:1m0s"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestDenialsAreRemembered takes a refusal from the server away: it holds for a
// second here, unless the limit is another one.
func TestDenialsAreRemembered(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	db := dial(t, "redis://"+m.Addr())
	r, pass := byServer(t, db)
	l := of(2, time.Minute)
	h := harness{T: t, Store: r, pass: pass}
	h.granted(on(l, 2))
	if got := h.refused(on(l, 1)).RetryAfter; got != 30*time.Second {
		t.Fatal(got)
	}
	key := on(l, 1).Key
	db.Del(t.Context(), key.redis())
	pass(500 * time.Millisecond)
	if got := h.refused(on(l, 1)); got.RetryAfter != 29500*time.Millisecond || got.Levels[0].Reset != 59500*time.Millisecond {
		t.Errorf("%+v", got)
	}
	h.granted(on(of(3, time.Minute), 1)) // a quota has changed
	h.granted(on(l, 1))
	h.refused(on(l, 1))
	h.settle(on(l, -5)) // what was given back is known at once
	h.granted(on(l, 2))
	h.granted(on(l, 0))
	h.refused(on(l, 1), on(of(9, time.Hour), 1))
	db.Del(t.Context(), key.redis())
	pass(time.Second)
	h.granted(on(l, 1), on(of(9, time.Hour), 1))
}

// TestRedisThatHangs costs one wait, and then nothing until it is back.
func TestRedisThatHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	var mu sync.Mutex
	var heard []bool
	changed := make(chan bool, 8)
	r := NewRedis(RedisConfig{Probe: 20 * time.Millisecond, Wait: 50 * time.Millisecond, Changed: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, err == nil)
		changed <- err == nil
	}}, dial(t, server.URL()))
	r.Start()
	defer r.Stop()
	h := harness{T: t, Store: r}
	h.granted(on(of(5, 30*day), 1))
	server.Freeze()
	for {
		if _, err := r.Acquire(t.Context(), []Charge{on(of(5, 30*day), 1)}); err != nil {
			break
		}
	}
	<-changed
	for range 1000 { // at 50 ms each, the test would not end
		if _, err := r.Acquire(t.Context(), []Charge{on(of(5, 30*day), 1)}); err == nil {
			t.Fatal("a server that hangs answered")
		}
	}
	server.Thaw()
	for !<-changed {
		continue
	}
	if got := h.acquire(on(of(5, 30*day), 0)).Levels[0].Remaining; got > 4 {
		t.Errorf("%d remain", got)
	}
	server.End()
	for err := error(nil); err == nil; {
		_, err = r.Acquire(t.Context(), []Charge{on(of(5, 30*day), 1)})
	}
	server.Begin() // its script is lost, too
	for !<-changed {
		continue
	}
	h.granted(on(of(5, 30*day), 5))
	r.Stop()
	mu.Lock()
	defer mu.Unlock()
	downAndUp(t, heard)
}

// downAndUp checks that a store told in turn that its server is away and that it is back.
func downAndUp(t *testing.T, heard []bool) {
	t.Helper()
	for i, up := range heard {
		if up != (i%2 == 1) {
			t.Errorf("what was told: %v", heard)
		}
	}
}

// TestAClientThatLeavesSaysNothingOfTheServer ends a request's context.
func TestAClientThatLeavesSaysNothingOfTheServer(t *testing.T) {
	t.Parallel()
	r := NewRedis(RedisConfig{}, dial(t, "redis://"+miniredis.RunT(t).Addr()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Acquire(ctx, []Charge{on(of(5, time.Minute), 1)}); err == nil {
		t.Error("granted to nobody")
	}
	if r.Away() {
		t.Error("the server counts as away")
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"redis://r":                   "[r:6379] 0",
		"redis://ann:pw@r:6380/3":     "[r:6380] 3 ann pw",
		"rediss://r":                  "[r:6379] 0 tls",
		"unix:///run/redis.sock?db=2": "[/run/redis.sock] 2",
		"redis://a:7000, redis://b":   "[a:7000 b:6379] 0 cluster",
		"redis://a:7000?cluster=true": "[a:7000] 0 cluster",
		"redis://:pw@a:26379/1?master_name=main&sentinel_password=spw,redis://b:26379": "[a:26379 b:26379] 1  pw main spw",
	} {
		o, err := Address{URL: text, CAs: x509.NewCertPool()}.options()
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := fmt.Sprint(o.Addrs, " ", o.DB)
		if o.Password != "" {
			got += " " + o.Username + " " + o.Password
		}
		if o.TLSConfig != nil {
			got += " tls"
			if o.TLSConfig.RootCAs == nil {
				t.Errorf("%s: the CA is forgotten", text)
			}
		}
		if o.IsClusterMode {
			got += " cluster"
		}
		if o.MasterName != "" {
			got += " " + o.MasterName + " " + o.SentinelPassword
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{
		"", "http://r", "redis://:s3cret@r/x", "redis://:s3cret@r?nonsense=1", "redis://r/1,redis://s", "redis://r?cluster=yes", "redis://:s3cret@%zz",
		"redis://a,rediss://b", "unix:///s?cluster=true", "redis://a/1?cluster=true", "redis://a,b",
	} {
		if err := (Address{URL: text}).Check(); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func BenchmarkRedis(b *testing.B) {
	server := redistest.Start(b)
	for _, address := range []string{server.URL(), "unix://" + server.Socket} {
		db := dial(b, address)
		r := NewRedis(RedisConfig{Wait: time.Minute}, db)
		l := of(most, time.Second)
		for name, charges := range map[string][]Charge{
			"one limit":    {on(l, 1)},
			"three limits": {on(l, 1), on(of(most, time.Minute), 1), on(of(most, time.Hour), 1)},
		} {
			scheme, _, _ := strings.Cut(address, ":")
			b.Run(scheme+"/"+name, func(b *testing.B) {
				for b.Loop() {
					if _, err := r.Acquire(context.Background(), charges); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
			})
		}
		b.Run("ping "+strconv.Quote(address[:5]), func(b *testing.B) {
			for b.Loop() {
				db.Ping(context.Background())
			}
		})
	}
}
