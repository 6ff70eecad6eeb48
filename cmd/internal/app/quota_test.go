package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"fairlane/proxy/limit/quota"
	"fairlane/proxy/limit/redistest"
)

// look reads what the admin API answers into out.
func (in *installation) look(path string, out any) {
	in.t.Helper()
	if a := in.order(http.MethodGet, path, nil); a.status != http.StatusOK || json.Unmarshal([]byte(a.body), out) != nil {
		in.t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
}

// asks sends one small chat of somebody.
func (in *installation) asks(who string) answer {
	in.t.Helper()
	return in.post("/v1/chat/completions", chatOf("x"), "X-OpenWebUI-User-Id", who, "X-OpenWebUI-User-Email", who+"@example.com", "X-OpenWebUI-User-Role", "user")
}

// may waits until somebody's limit is the one that the headers tell.
func (in *installation) may(who, limit string) {
	in.t.Helper()
	in.until(who+" may send "+limit, func() bool { return in.asks(who).header.Get("X-Ratelimit-Limit-Requests") == limit })
}

// twoOverRedis are two processes that share a server, which db asks.
func twoOverRedis(t *testing.T, server *redistest.Server) (a, b *installation, db *redis.Client) {
	t.Helper()
	m := newModel(t, whole)
	config := m.pool(8) + "policy: [{limits: 1000/minute}]\nsizes: {light: {limits: ''}}\nredis: {url: '" + server.URL() + "'}\n"
	a, b = install(t, config), install(t, config)
	a.ready()
	b.ready()
	return a, b, server.Client(t)
}

// TestAQuotaInRedisHoldsInAllProcesses sets one by hand, as redis-cli does, and
// takes it away.
func TestAQuotaInRedisHoldsInAllProcesses(t *testing.T) {
	server := redistest.Start(t)
	a, b, db := twoOverRedis(t, server)
	a.may("alice", "1000")
	b.may("alice", "1000")
	db.Set(t.Context(), "rate_limit:user:alice", "2/minute", 0)
	a.may("alice", "2")
	b.may("alice", "2")
	refused := 0
	for i := range 6 { // what the one gives the other doesn't
		in := a
		if i%2 == 1 {
			in = b
		}
		if got := in.asks("alice"); got.status == http.StatusTooManyRequests {
			refused++
			if !strings.Contains(got.body, "2 requests a minute") {
				t.Errorf("the refusal says %s", got.body)
			}
		}
	}
	if refused < 4 {
		t.Errorf("%d of 6 were refused", refused)
	}
	a.may("bob", "1000")
	db.Set(t.Context(), "rate_limit:user:alice", "2/week", 0)
	for _, in := range []*installation{a, b} {
		in.until("the bad one is counted", func() bool { return in.metric("fairlane_quota_invalid_total") == "1" })
		in.may("alice", "2")
	}
	db.Del(t.Context(), "rate_limit:user:alice")
	a.may("alice", "1000")
	b.may("alice", "1000")
	db.Set(t.Context(), "rate_limit:user:alice@example.com", "7/minute", time.Hour)
	a.may("alice", "7")
	server.End() // the quota holds, and the local limiter steps in
	a.until("each counts for itself", func() bool {
		return a.metric("fairlane_redis_up") == "0" && a.asks("alice").header.Get("X-Ratelimit-Limit-Requests") == "7"
	})
	if got := a.metric("fairlane_limit_store_fallback_total"); got == "0" || got == "" {
		t.Errorf("the fallback is counted %q times", got)
	}
	was := a.metric("fairlane_limit_store_fallback_total")
	var q quota.InForce
	if a.look("/api/v1/quotas?of=alice", &q); a.metric("fairlane_limit_store_fallback_total") != was {
		t.Error("a look counts as a decision")
	}
	server.Begin()
	a.until("it is healed", func() bool { return a.metric("fairlane_redis_up") == "1" })
	a.may("alice", "1000") // the new server knows of no quota
	said := a.lines("the store of limits does not answer; each process keeps its own until it does")
	if len(said) != 1 || !strings.HasPrefix(fmt.Sprint(said[0]["error"]), "redis: ") {
		t.Errorf("that Redis was away, and why, is said so: %v", said)
	}
	if said := a.lines("the quotas can't be read; the last ones hold until they can"); len(said) > 0 {
		t.Errorf("that Redis was away is said of the quotas, too: %v", said)
	}
}

// TestQuotasWithoutRedis are in the queue's store, and there after a restart.
func TestQuotasWithoutRedis(t *testing.T) {
	m := newModel(t, whole)
	in := install(t, m.pool(8)+"policy: [{limits: 1000/minute}]\n")
	in.ready()
	in.may("alice", "1000")
	set := func(body string, want int, says string) {
		t.Helper()
		if a := in.order(http.MethodPut, "/api/v1/quotas", json.RawMessage(body)); a.status != want || !strings.Contains(a.body, says) {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	set(`{"name":"user:alice@example.com","limits":"5/minute"}`, http.StatusNoContent, "")
	set(`{"name":"user:alice@example.com:light","limits":"3/minute"}`, http.StatusNoContent, "")
	in.may("alice", "3")
	set(`{"name":"user:alice","limits":"5/week"}`, http.StatusBadRequest, "character 3")
	set(`{"name":"alice","limits":"5/minute"}`, http.StatusBadRequest, "user:<id or email>")
	set(`{"name":"user:alice@example.com","limits":"9/minute","for":"1h"}`, http.StatusBadRequest, `"5/minute" without an end`)
	set(`{"name":"group:x","limits":"9/minute","for":"1h"}`, http.StatusNoContent, "")

	var q quota.InForce
	in.look("/api/v1/quotas?of=alice@example.com", &q)
	if !q.Known || q.UserKey != "user:alice@example.com" || len(q.Buckets) != 2 {
		t.Fatalf("%+v", q)
	}
	if b := q.Buckets[0]; b.Of != "requests" || b.Limits != "5/minute" || b.From != "rate_limit:user:alice@example.com" || b.Levels[0].Most != 5 {
		t.Errorf("%+v", b)
	}
	if b := q.Buckets[1]; b.Of != "light" || b.From != "rate_limit:user:alice@example.com:light" || b.Levels[0].Remaining != 2 {
		t.Errorf("%+v", b)
	}
	in.look("/api/v1/quotas?of=carol", &q)
	if q.Known || len(q.Buckets) != 1 || !strings.HasPrefix(q.Buckets[0].From, "policy[0]") {
		t.Errorf("%+v", q)
	}
	var all []quota.Override
	in.look("/api/v1/quotas", &all)
	if len(all) != 3 || all[0].Name != "group:x" || all[0].Until.IsZero() || !all[1].Until.IsZero() {
		t.Errorf("%+v", all)
	}
	in.app.Stop()

	again := &installation{t: t, file: in.file, log: &buffer{}, said: &buffer{}}
	var err error
	if again.app, err = New(Options{ConfigPath: in.file, Env: noEnv, Stdout: again.said, Stderr: again.log}); err != nil {
		t.Fatal(err)
	}
	if err := again.app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.app.Stop)
	again.ready()
	again.may("alice", "3")
	for _, name := range []string{"user:alice@example.com", "user:alice@example.com:light"} {
		if a := again.order(http.MethodDelete, "/api/v1/quotas?name="+name, nil); a.status != http.StatusNoContent {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	again.may("alice", "1000")
	var changes []quota.Change
	again.look("/api/v1/audit", &changes)
	if len(changes) != 5 || changes[1].Old != "5/minute" || changes[1].New != "" || changes[1].Who != "loopback without a token" || changes[1].At.IsZero() {
		t.Errorf("%+v", changes)
	}
}
