package app

import (
	"net/http"
	"testing"

	"fairlane/proxy/limit/redistest"
)

// TestAFailoverOfRedisFailsNoRequest: the master is killed, each process counts for
// itself until the sentinels have put the replica in its place, and what is set holds
// all the time.
func TestAFailoverOfRedisFailsNoRequest(t *testing.T) {
	watched := redistest.StartWatched(t)
	m := newModel(t, whole)
	in := install(t, m.pool(8)+"policy: [{limits: 1000000/minute}]\nsizes: {light: {limits: ''}}\nredis: {url: '"+watched.URL()+"', fallback_replicas: 2}\n")
	in.ready()
	in.until("Redis is found", func() bool { return in.metric("fairlane_redis_up") == "1" })
	if a := in.order(http.MethodPut, "/api/v1/quotas", map[string]string{"name": "user:alice", "limits": "500000/minute"}); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	in.may("alice", "500000")
	replica := watched.Replica.Client(t)
	in.until("the replica has it", func() bool { return replica.Get(t.Context(), "rate_limit:user:alice").Val() == "500000/minute" })

	watched.Master.End()
	asked := 0
	answered := func() {
		a := in.asks("alice")
		if asked++; a.status != http.StatusOK || a.header.Get("X-Ratelimit-Limit-Requests") != "500000" {
			t.Errorf("request %d: %d %s %v", asked, a.status, a.body, a.header)
		}
	}
	in.until("each counts for itself", func() bool { answered(); return in.metric("fairlane_redis_up") == "0" })
	in.until("the replica took over", func() bool { answered(); return in.metric("fairlane_redis_up") == "1" })
	if a := in.order(http.MethodPut, "/api/v1/quotas", map[string]string{"name": "user:alice", "limits": "600000/minute"}); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	in.may("alice", "600000")
	if got := in.metric("fairlane_limit_store_fallback_total"); got == "0" || got == "" {
		t.Errorf("the fallback is counted %q times", got)
	}
	if n := len(in.lines("the store of limits does not answer; each process keeps its own until it does")); n != 1 {
		t.Errorf("that Redis was away is said %d times", n)
	}
}
