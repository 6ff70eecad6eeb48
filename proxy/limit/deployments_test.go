package limit

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"fairlane/proxy/identity/ldaptest"
	"fairlane/proxy/limit/redistest"
)

// byLiteral is a store with a test's time in the text of its script: in a cluster no
// key holds the time for all slots.
func byLiteral(tb testing.TB, db redis.UniversalClient) (r *Redis, pass func(time.Duration)) {
	tb.Helper()
	now := epoch
	text := handClock(tb)
	script := func() string {
		return strings.Replace(text, "redis.call('GET', 'test:now')", strconv.FormatInt(now, 10), 1)
	}
	r = NewRedis(RedisConfig{Wait: time.Minute, source: script()}, db)
	r.denied.now = func() time.Time { return time.UnixMicro(now) }
	return r, func(d time.Duration) {
		now += int64(d / time.Microsecond)
		r.script = newScript(script())
	}
}

func TestClusterHoldsTheContract(t *testing.T) {
	cluster := redistest.StartCluster(t)
	first, others, _ := strings.Cut(cluster.URL(), ",")
	db := dialPlain(t, first+"?read_timeout=1m&dial_timeout=1m&pool_timeout=1m,"+others) // the machine may be busy
	for name, test := range storeTests() {
		t.Run(name, func(t *testing.T) {
			for _, node := range cluster.Nodes {
				if err := node.Client(t).FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
			r, pass := byLiteral(t, db)
			test(harness{T: t, Store: r, pass: pass, tick: time.Microsecond})
		})
	}
	t.Run("the keys of a caller are in one slot", func(t *testing.T) { testSlots(t, db) })
	t.Run("all or nothing over slots", func(t *testing.T) { testOverSlots(t, db) })
	t.Run("a master dies", func(t *testing.T) { testMasterDies(t, cluster) })
}

func slotOf(t *testing.T, db redis.UniversalClient, k Key) int64 {
	t.Helper()
	slot, err := db.ClusterKeySlot(t.Context(), k.redis()).Result()
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

func testSlots(t *testing.T, db redis.UniversalClient) {
	t.Helper()
	for _, owner := range []string{"user:ann", "user:{x}", "ip:2001:db8::/64", "key:}{"} {
		slots := map[int64]bool{}
		for _, scope := range []string{"requests/*", "tokens/{gpt}", "heavy/*"} {
			for nth := range 3 {
				slots[slotOf(t, db, Key{Scope: scope, Owner: owner, Period: time.Minute, Nth: nth})] = true
			}
		}
		if len(slots) != 1 {
			t.Errorf("%s: %d slots", owner, len(slots))
		}
	}
}

// testOverSlots takes of two slots, of which the later one refuses.
func testOverSlots(t *testing.T, db redis.UniversalClient) {
	t.Helper()
	r := NewRedis(RedisConfig{Wait: time.Minute}, db)
	h := harness{T: t, Store: r}
	l := of(5, 30*day)
	mine := caller(1, l, 1)
	mine.Key.Owner += " over slots"
	shared := Charge{Key: Key{Scope: "all together", Period: l.Period}, Limit: of(2, 30*day), Cost: 1}
	if slotOf(t, db, shared.Key) == slotOf(t, db, mine.Key) {
		t.Fatal("both are in one slot")
	}
	h.granted(mine, shared)
	h.granted(mine, shared)
	r = NewRedis(RedisConfig{Wait: time.Minute}, db) // which remembers no refusal
	h.Store = r
	if got := h.refused(mine, shared); got.Refused != 1 {
		t.Errorf("%+v", got)
	}
	h.remains(mine, 3)
}

// testMasterDies kills one of three. Whom it knew is told that the store is away, the
// others go on, and everything heals when it is back.
func testMasterDies(t *testing.T, cluster *redistest.Cluster) {
	t.Helper()
	r := NewRedis(RedisConfig{Wait: time.Second, Probe: 20 * time.Millisecond}, dialPlain(t, cluster.URL()))
	r.Start()
	defer r.Stop()
	owner := func(node int) Charge { // whose bucket is there
		direct := cluster.Nodes[node].Client(t)
		for i := 0; ; i++ {
			c := caller(i, of(5, 30*day), 0)
			if err := direct.Exists(t.Context(), c.Key.redis()).Err(); err == nil {
				return c
			}
		}
	}
	lost, kept := owner(2), owner(0)
	answers := func(c Charge) bool {
		_, err := r.Acquire(t.Context(), []Charge{c})
		return err == nil
	}
	eventually(t, "both answer", func() bool { return answers(lost) && answers(kept) })
	cluster.Nodes[2].End()
	eventually(t, "its callers are told", func() bool { return !answers(lost) })
	eventually(t, "the others go on", func() bool { return answers(kept) })
	cluster.Nodes[2].Begin()
	eventually(t, "it is healed", func() bool { return answers(lost) })
}

// TestSentinelsPutAnotherInItsPlace kills a master with what callers have used.
func TestSentinelsPutAnotherInItsPlace(t *testing.T) {
	t.Parallel()
	watched := redistest.StartWatched(t)
	var mu sync.Mutex
	var heard []bool
	r := NewRedis(RedisConfig{Wait: time.Second, Probe: 20 * time.Millisecond, Changed: func(err error) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, err == nil)
	}}, dialPlain(t, watched.URL()))
	r.Start()
	defer r.Stop()
	used := on(of(5, 30*day), 3)
	eventually(t, "the server is found", func() bool {
		_, err := r.Acquire(t.Context(), []Charge{on(of(5, 30*day), 0)})
		return err == nil
	})
	harness{T: t, Store: r}.granted(used)
	key := used.Key
	replica := watched.Replica.Client(t)
	eventually(t, "the replica has it", func() bool { return replica.Exists(t.Context(), key.redis()).Val() == 1 })
	watched.Master.End()
	failed := 0
	var res Result
	eventually(t, "the other one answers", func() bool {
		var err error
		if res, err = r.Acquire(t.Context(), []Charge{on(of(5, 30*day), 0)}); err != nil {
			failed++
		}
		return err == nil && failed > 0
	})
	if got := res.Levels[0].Remaining; got != 2 {
		t.Errorf("%d remain of what the first one knew, want 2", got)
	}
	r.Stop()
	mu.Lock()
	defer mu.Unlock()
	downAndUp(t, heard)
}

// TestRedisOverTLS believes a server by the CA that is configured, and says so where
// it is another one.
func TestRedisOverTLS(t *testing.T) {
	t.Parallel()
	cert, key, roots := ldaptest.Certificate(t)
	_, _, strangers := ldaptest.Certificate(t)
	dir := t.TempDir()
	files := map[string][]byte{"cert.pem": cert, "key.pem": key}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server := redistest.Start(t, "--tls-port", redistest.Port, "--tls-auth-clients", "no",
		"--tls-cert-file", filepath.Join(dir, "cert.pem"), "--tls-key-file", filepath.Join(dir, "key.pem"))
	port := server.Argument("--tls-port")
	for name, tc := range map[string]struct {
		url  string
		cas  *x509.CertPool
		want string // in the error; empty: it answers
	}{
		"the CA":                  {"rediss://127.0.0.1:" + port, roots, ""},
		"another CA":              {"rediss://127.0.0.1:" + port, strangers, "certificate"},
		"the system's":            {"rediss://127.0.0.1:" + port, nil, "certificate"},
		"a name that is not its":  {"rediss://127.0.0.2:" + port, roots, "127.0.0.2"},
		"no TLS where there is":   {"redis://127.0.0.1:" + port, nil, "redis"},
		"TLS where there is none": {"rediss://" + server.Addr, roots, "deadline"},
	} {
		db, err := Address{URL: tc.url, CAs: tc.cas}.Dial()
		if err != nil {
			t.Fatal(err)
		}
		_, err = NewRedis(RedisConfig{Wait: time.Minute}, db).Acquire(t.Context(), []Charge{on(of(5, time.Minute), 1)})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		_ = db.Close()
	}
}

// TestOneRoundTrip is what a decision is, however many limits somebody has, and a refusal
// that is remembered is none.
func TestOneRoundTrip(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r, direct := NewRedis(RedisConfig{Wait: time.Minute}, dial(t, server.URL())), server.Client(t)
	h := harness{T: t, Store: r}
	three := []Charge{on(of(50, time.Hour), 1), on(of(100, 7*day), 1), on(of(1000, 30*day), 1)}
	h.granted(three...) // the script is sent
	if err := direct.ConfigResetStat(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	for range 49 {
		h.granted(three...)
	}
	for range 50 {
		h.refused(three...)
	}
	stats := direct.InfoMap(t.Context(), "commandstats").Val()["Commandstats"]
	if got := stats["cmdstat_evalsha"]; !strings.HasPrefix(got, "calls=50,") {
		t.Errorf("49 that were granted and 50 refusals in a row: %s", got)
	}
	for name := range stats {
		switch strings.TrimPrefix(name, "cmdstat_") {
		case "evalsha", "time", "get", "set", "info", "config|resetstat", "hello", "client|setname", "client|setinfo":
		default:
			t.Errorf("%s was asked for, too", name)
		}
	}
}

// TestValkeyHoldsTheContract where it is installed.
func TestValkeyHoldsTheContract(t *testing.T) {
	holdsTheContract(t, redistest.StartProgram(t, "valkey-server").Addr)
}

// dialPlain opens a connection as an administrator's configuration does.
func dialPlain(t *testing.T, address string) redis.UniversalClient {
	t.Helper()
	db, err := Address{URL: address}.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// eventually asks until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("never so: " + what)
		}
	}
}
