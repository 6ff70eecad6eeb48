package app

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"fairlane/proxy/limit/quota"
)

// TestLimitsFollowTheLoadInEveryProcess: somebody waits, the leader tells two proxies,
// both take back the same; a reload moves the marks, and what an admin sets stays.
func TestLimitsFollowTheLoadInEveryProcess(t *testing.T) {
	release := make(chan struct{})
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "long") {
			<-release
		}
		whole(w, r)
	})
	config := m.pool(1) + "nats: {url: \"" + natsServer(t) + "\"}\n" + `
policy: [{name: all, limits: 1000/minute, limits_follow_load: {from: 0.2}}]
sizes: {light: {limits: ''}}
load: {kv_low: 0.01, kv_high: 1, wait_low: 1ms, wait_high: %s}
`
	leader := install(t, fmt.Sprintf(config, "1h"), RoleDispatcher, RoleWorker)
	edges := []*installation{install(t, fmt.Sprintf(config, "1h"), RoleProxy), install(t, fmt.Sprintf(config, "1h"), RoleProxy)}
	leader.until("the pool is led", func() bool { return leader.app.status().Pools[0].Leading })
	for _, e := range edges {
		e.until("the edge is ready", func() bool { return get(t, e.app.EdgeURL()+"/readyz").status == http.StatusOK })
		e.may("alice", "1000")
	}
	answers := make(chan answer, 2)
	for i, e := range edges { // the second waits for the first
		go func() {
			answers <- e.post("/v1/chat/completions", chatOf("long"), "X-OpenWebUI-User-Id", fmt.Sprint("user", i))
		}()
		e.until("it is there", func() bool { return len(e.queueOf(fmt.Sprint("user", i))) == 1 })
	}
	if got := leader.metric(`fairlane_load_level{pool="main"}`); got != "0" {
		t.Errorf("between the marks the level is %q", got)
	}
	leader.write(fmt.Sprintf(config, "2ms"))
	leader.app.Reload()
	if page := get(t, edges[0].app.AdminURL()+"/"); !strings.Contains(page.body, "Another process leads this pool") {
		t.Errorf("the page of an edge: %d %s", page.status, page.body)
	}
	leader.until("the level rises", func() bool { v := leader.metric(`fairlane_load_level{pool="main"}`); return v != "0" && v != "" })
	for _, e := range edges {
		e.until("the factor falls", func() bool {
			v := e.metric(`fairlane_limit_factor{pool="main",rule="all"}`)
			return v != "1" && v != ""
		})
		var q quota.InForce
		e.look("/api/v1/quotas?of=alice", &q)
		if b := q.Buckets[0]; b.Written != "1000/minute" || b.Factor >= 1 || b.Levels[0].Most >= 1000 || b.Levels[0].Most < 200 {
			t.Errorf("in force is %+v", b)
		}
	}
	if a := edges[0].order(http.MethodPut, "/api/v1/quotas", map[string]string{"name": "user:bob", "limits": "700/minute"}); a.status != http.StatusNoContent {
		t.Fatalf("%d %s", a.status, a.body)
	}
	var q quota.InForce
	edges[0].until("what an admin set is in force", func() bool {
		q = quota.InForce{}
		edges[0].look("/api/v1/quotas?of=bob", &q)
		return q.Buckets[0].Limits == "700/minute"
	})
	if b := q.Buckets[0]; b.Written != "" {
		t.Errorf("what an admin set follows the load: %+v", b)
	}
	close(release)
	for range edges {
		if a := <-answers; a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}
