package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"fairlane/proxy/admin"
	"fairlane/proxy/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEmulatedFromNothing is `make run`: no file, no backend.
func TestEmulatedFromNothing(t *testing.T) {
	in := install(t, "")
	in.app.banner()
	if got := in.said.String(); !strings.Contains(got, "EMULATED") || !strings.Contains(got, in.app.EdgeURL()+"/v1") || !strings.Contains(got, "Open mode") {
		t.Errorf("the banner says %q", got)
	}
	in.ready()
	a := in.post("/v1/chat/completions", streamOf("hello"), "X-OpenWebUI-User-Id", "u1", "X-OpenWebUI-User-Email", "Ann@example.com")
	if a.status != http.StatusOK || !strings.HasSuffix(a.body, "data: [DONE]\n\n") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if strings.Contains(a.body, `"usage":{`) {
		t.Error("the client got usage that it did not ask for")
	}
	in.until("the entry is counted", func() bool {
		return in.metric(`fairlane_requests_total{class="standard",model="emulated",outcome="completed",pool="main"}`) == "1"
	})
	lines := in.lines("request")
	if len(lines) != 1 {
		t.Fatalf("%d lines about one request", len(lines))
	}
	want := map[string]any{
		"user_key": "user:ann@example.com", "class": "standard", "pool": "main", "model": "emulated", "outcome": "completed",
		"status": 200.0, "output_tokens": 20.0, "attempts": 1.0, "path": "/v1/chat/completions", "method": "POST",
	}
	for k, v := range want {
		if lines[0][k] != v {
			t.Errorf("the log says %s=%v, want %v", k, lines[0][k], v)
		}
	}
	arrived := []admin.Traffic{{Forwarder: "open mode", Requests: 1, Identity: 1}}
	if diff := cmp.Diff(arrived, in.app.status().Identity.Traffic); diff != "" {
		t.Errorf("what the status says of who called: %s", diff)
	}
	if strings.Contains(in.log.String(), "hello") {
		t.Error("the log holds the prompt")
	}
	if got := get(t, in.app.AdminURL()+"/"); !strings.Contains(got.body, "Pool main") || !strings.Contains(got.body, "standard") {
		t.Errorf("the page: %d %s", got.status, got.body)
	}
	if got := get(t, in.app.EdgeURL()+"/readyz"); got.status != http.StatusOK {
		t.Errorf("/readyz answers %d %s", got.status, got.body)
	}
}

// TestVIPGoesFirst fills one slot and the queue behind it; of those who wait at
// most one is served before the VIP who came last.
func TestVIPGoesFirst(t *testing.T) {
	release, order := make(chan struct{}), make(chan string, 8)
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := bufio.NewReader(r.Body).ReadString(0)
		order <- body[strings.Index(body, `"content":"`)+len(`"content":"`):][:2]
		<-release
		whole(w, r)
	})
	in := install(t, m.pool(1)+"policy: [{when: {group: vip}, class: vip}]\n")
	in.ready()
	var wg sync.WaitGroup
	ask := func(text string, group string) {
		wg.Go(func() {
			if a := in.post("/v1/chat/completions", chatOf(text), "X-OpenWebUI-User-Id", text, "X-User-Groups", group); a.status != http.StatusOK {
				t.Errorf("%s: %d %s", text, a.status, a.body)
			}
		})
	}
	depth := func(class, n string) {
		in.until(n+" wait in "+class, func() bool { return in.metric(`fairlane_queue_depth{class="`+class+`",pool="main"}`) == n })
	}
	ask("u1", "")
	if got := <-order; got != "u1" {
		t.Fatalf("%s was served", got)
	}
	for i := 1; i <= 4; i++ {
		ask(fmt.Sprint("u", i+1), "")
		depth("standard", strconv.Itoa(i))
	}
	ask("v1", "vip")
	depth("vip", "1")
	close(release)
	wg.Wait()
	if first, second := <-order, <-order; first != "v1" && second != "v1" {
		t.Errorf("served first were %s and %s", first, second)
	}
}

// TestClientThatLeavesFreesItsSlot cancels one that waits, and then one that runs.
func TestClientThatLeavesFreesItsSlot(t *testing.T) {
	began, aborted := make(chan struct{}, 2), make(chan struct{}, 2)
	m := newModel(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = bufio.NewReader(r.Body).ReadString(0)
		began <- struct{}{}
		<-r.Context().Done()
		aborted <- struct{}{}
	})
	in := install(t, m.pool(1))
	in.ready()
	ask := func() (leave func()) {
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan struct{})
		go func() {
			defer close(left)
			resp, err := client().Do(request(ctx, t, in.app.EdgeURL()+"/v1/chat/completions", chatOf("x")))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v %v", resp, err)
			}
		}()
		return func() { cancel(); <-left }
	}
	depth := func(n string) {
		in.until(n+" wait", func() bool { return in.metric(`fairlane_queue_depth{class="background",pool="main"}`) == n })
	}
	runs := ask()
	<-began
	waits := ask()
	depth("1")
	waits()
	depth("0")
	runs()
	<-aborted
	in.until("nothing runs", func() bool { return in.app.status().Pools[0].Backends[0].Running == 0 })
	in.until("both are logged as cancelled", func() bool {
		lines := in.lines("request")
		return len(lines) == 2 && lines[0]["outcome"] == "cancelled" && lines[1]["outcome"] == "cancelled" && lines[0]["status"] == 499.0
	})
	if len(began) != 0 {
		t.Error("the one that waited reached the backend")
	}
}

// TestDrain stops with one request running and one waiting.
func TestDrain(t *testing.T) {
	began, release := make(chan struct{}, 2), make(chan struct{})
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = bufio.NewReader(r.Body).ReadString(0)
		began <- struct{}{}
		<-release
		whole(w, r)
	})
	in := install(t, m.pool(1))
	in.ready()
	answers := make([]answer, 2)
	var wg sync.WaitGroup
	wg.Go(func() { answers[0] = in.post("/v1/chat/completions", chatOf("runs")) })
	<-began
	wg.Go(func() { answers[1] = in.post("/v1/chat/completions", chatOf("waits")) })
	in.until("one waits", func() bool { return in.metric(`fairlane_queue_depth{class="background",pool="main"}`) == "1" })
	stopped := make(chan struct{})
	go func() { defer close(stopped); in.app.Stop() }()
	in.until("what waits is refused", func() bool { return len(in.lines("request")) == 1 })
	close(release)
	wg.Wait()
	<-stopped
	if a := answers[0]; a.status != http.StatusOK {
		t.Errorf("what ran was answered %d %s", a.status, a.body)
	}
	if a := answers[1]; a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"shutting_down"`) {
		t.Errorf("what waited was answered %d %v %s", a.status, a.header, a.body)
	}
}

// TestReload changes the file: what is right is taken, what is wrong is not.
func TestReload(t *testing.T) {
	m := newModel(t, whole)
	in := install(t, m.pool(4))
	in.ready()
	class := func() string { return in.post("/v1/chat/completions", chatOf("x")).header.Get("X-Fairlane-Class") }
	if got := class(); got != "background" {
		t.Fatalf("the class is %s", got)
	}
	in.write(m.pool(4) + "policy: [{class: vip}]\n")
	in.until("the new rule holds", func() bool { return class() == "vip" })
	if got := in.metric("fairlane_config_reload_ok"); got != "1" {
		t.Errorf("reload_ok is %q", got)
	}
	in.write(m.pool(4) + "policy: [{klass: standard}]\n")
	in.until("the error is told", func() bool { return in.metric("fairlane_config_reload_ok") == "0" })
	if got := in.app.status().Config.Error; !strings.Contains(got, "klass") || !strings.Contains(got, ":") {
		t.Errorf("the status says %q", got)
	}
	if got := class(); got != "vip" {
		t.Errorf("the class is %s after a bad reload", got)
	}
	in.write(m.pool(7) + "policy: [{class: standard}]\nlog: {format: text}\nredis: {fallback_replicas: 2}\n")
	in.until("slots are changed", func() bool { return in.app.status().Pools[0].Backends[0].Slots == 7 })
	in.until("what needs a restart is named", func() bool { return strings.Contains(in.log.String(), "log.format") })
	if got := class(); got != "standard" {
		t.Errorf("the class is %s", got)
	}
	if got := in.app.status().Config.Warnings; len(got) != 1 || !strings.Contains(got[0], "redis.fallback_replicas") {
		t.Errorf("the status warns of %v", got)
	}
	var changed []any
	for _, line := range in.lines("the configuration was reloaded") {
		changed = append(changed, line["changed"])
	}
	if diff := cmp.Diff([]any{"policy", "policy[0], pools[0].backends"}, changed); diff != "" {
		t.Errorf("what the log says of the reloads: %s", diff)
	}
}

// TestKeysAndTokens closes the door: a key, a JWT, and nothing.
func TestKeysAndTokens(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	m := newModel(t, whole)
	in := install(t, m.pool(4)+`
identity:
  jwt: [{name: idp, header: Authorization, algorithms: [HS256], secret: "`+secret+`", issuer: idp, roles_claim: roles}]
  anonymous: deny
policy: [{when: {role: gold}, class: vip}, {limits: "2/minute"}]
`)
	in.ready()
	if a := in.post("/v1/chat/completions", chatOf("x")); a.status != http.StatusUnauthorized || !strings.Contains(a.body, `"invalid_api_key"`) {
		t.Errorf("without a token: %d %s", a.status, a.body)
	}
	token, err := identity.Mint(secret, identity.Token{Issuer: "idp", Subject: "ann", Roles: []string{"gold"}, Lifetime: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if a := in.post("/v1/chat/completions", chatOf("x"), "Authorization", "Bearer "+token); a.status != http.StatusOK || a.header.Get("X-Fairlane-Class") != "vip" {
			t.Errorf("with a token: %d %s", a.status, a.body)
		}
	}
	a := in.post("/v1/chat/completions", chatOf("x"), "Authorization", "Bearer "+token)
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" || a.header.Get("X-Ratelimit-Limit-Requests") != "2" || !strings.Contains(a.body, `"rate_limit_exceeded"`) {
		t.Errorf("beyond the limit: %d %v %s", a.status, a.header, a.body)
	}
	if got := in.metric(`fairlane_refusals_total{class="vip",pool="main",reason="requests"}`); got != "1" {
		t.Errorf("refusals: %q", got)
	}
	if strings.Contains(in.log.String(), token) || strings.Contains(in.log.String(), secret) {
		t.Error("the log holds a secret")
	}
}

// TestBackendThatReturns lets requests wait while no backend is up.
func TestBackendThatReturns(t *testing.T) {
	var up atomic.Bool
	m := newModel(t, whole)
	handler := m.Config.Handler
	m.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		handler.ServeHTTP(w, r)
	})
	in := install(t, m.pool(4))
	got := make(chan answer)
	go func() { got <- in.post("/v1/chat/completions", chatOf("x")) }()
	in.until("it waits", func() bool { return in.metric(`fairlane_queue_depth{class="background",pool="main"}`) == "1" })
	if a := get(t, in.app.EdgeURL()+"/readyz"); a.status != http.StatusOK {
		t.Errorf("/readyz answers %d %s", a.status, a.body)
	}
	up.Store(true)
	if a := <-got; a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// natsServer is the address of a NATS of its own.
func natsServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	return s.ClientURL()
}

// TestRolesApart runs every role in a process of its own, over one NATS server.
func TestRolesApart(t *testing.T) {
	m := newModel(t, whole)
	config := m.pool(4) + "nats: {url: \"" + natsServer(t) + "\"}\n"
	leader := install(t, config, RoleDispatcher)
	install(t, config, RoleWorker)
	edge := install(t, config, RoleProxy)
	leader.until("the pool is led", func() bool { return leader.app.status().Pools[0].Leading })
	edge.until("the edge is ready", func() bool { return get(t, edge.app.EdgeURL()+"/readyz").status == http.StatusOK })
	large := strings.Repeat("a long prompt ", 100_000)
	for _, text := range []string{"short", large} {
		if a := edge.post("/v1/chat/completions", chatOf(text)); a.status != http.StatusOK || !strings.Contains(a.body, "hello") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if got := leader.metric(`fairlane_dispatcher_leader{pool="main"}`); got != "1" {
		t.Errorf("leader is %q", got)
	}
	if got := edge.metric(`fairlane_dispatcher_leader{pool="main"}`); got != "" {
		t.Errorf("the edge exports the leader's gauge: %q", got)
	}
}

func TestPartOfTheRolesNeedsNATS(t *testing.T) {
	_, err := New(Options{Roles: []Role{RoleProxy}, Env: noEnv, Stdout: os.Stdout, Stderr: os.Stderr})
	if err == nil || !strings.Contains(err.Error(), "nats.url") {
		t.Errorf("got %v", err)
	}
	if _, err := ParseRoles([]string{"proxy", "boss"}); err == nil || !strings.Contains(err.Error(), "boss") {
		t.Errorf("got %v", err)
	}
}
