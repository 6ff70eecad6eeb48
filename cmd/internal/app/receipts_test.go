package app

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"fairlane/proxy/admin"
	"fairlane/scheduler"
	"fairlane/scheduler/arrivals"
)

// receipts asks the admin API.
func (in *installation) receipts(query string) []scheduler.Receipt {
	in.t.Helper()
	base := strings.TrimSuffix(in.app.MetricsURL(), "/metrics")
	a := get(in.t, base+"/api/v1/receipts?"+query)
	var list admin.ReceiptList
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != http.StatusOK {
		in.t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return list.Receipts
}

// gated answers a chat when it is let.
type gated struct {
	gate chan struct{}
	once sync.Once
}

func newGated() *gated { return &gated{gate: make(chan struct{})} }

func (g *gated) open() { g.once.Do(func() { close(g.gate) }) }

func (g *gated) chat(w http.ResponseWriter, r *http.Request) {
	select {
	case <-g.gate:
	case <-r.Context().Done():
	}
	whole(w, r)
}

func ask(in *installation, wg *sync.WaitGroup, id, user string) {
	wg.Go(func() {
		in.post("/v1/chat/completions", chatOf("a secret plan"), "X-Request-Id", id, "X-OpenWebUI-User-Id", user, "X-OpenWebUI-User-Email", user+"@example.com", "X-OpenWebUI-Chat-Id", "chat-"+user)
	})
}

// TestWhyARequestWaits asks of one that waits, and again when it is over, and again
// after a restart.
func TestWhyARequestWaits(t *testing.T) {
	g := newGated()
	m := newModel(t, g.chat)
	defer g.open()
	in := install(t, m.pool(1)+"policy: [{when: {user: bob@example.com}, limits: 1/hour}]\nhistory: {record_arrivals: true}\n")
	in.ready()
	var wg sync.WaitGroup
	ask(in, &wg, "first", "ann")
	in.until("the first runs", func() bool {
		return len(in.receipts("id=first")) == 1 && len(in.receipts("id=first")[0].Queue.Attempts) == 1
	})
	ask(in, &wg, "second", "bob")
	in.until("the second waits", func() bool {
		found := in.receipts("user=bob@example.com")
		return len(found) == 1 && found[0].Queue != nil && found[0].Queue.Now != nil && found[0].Queue.Now.Position == 1
	})
	waits := in.receipts("id=second")[0]
	if waits.Queue.Now.Blocked != scheduler.BlockedSlots || waits.Edge.Outcome != "" || waits.Edge.UserName == "" {
		t.Errorf("while it waits: %+v %+v", waits.Queue.Now, waits.Edge)
	}
	ask(in, &wg, "third", "bob") // refused by the limit
	g.open()
	wg.Wait()
	over := func() bool {
		found := in.receipts("id=second")
		return len(found) == 1 && found[0].Queue != nil && found[0].Queue.End == "completed" && found[0].Edge.Outcome == scheduler.Completed
	}
	in.until("the second is over", over)
	r := in.receipts("chat=chat-bob&last=1h")
	if len(r) != 2 || r[0].Edge.RequestID != "third" || r[0].Edge.Reason != scheduler.ReasonRequests || r[0].Edge.ClassFrom != "default_class" {
		t.Fatalf("of the conversation: %+v", r)
	}
	q := r[1].Queue
	if q.Arrived.Position != 1 || q.Settled == 0 || len(q.Attempts) != 1 || len(q.Blocked) == 0 || q.Blocked[0].By != scheduler.BlockedSlots {
		t.Errorf("of the second: %+v", q)
	}
	recorded(t, in, 3)
	again := restart(t, in)
	again.until("the second is known after a restart", func() bool { return len(again.receipts("id=second")) == 1 })
	if found := again.receipts("user=ann@example.com"); len(found) != 1 || found[0].Edge.Outcome != scheduler.Completed {
		t.Errorf("of the first, after a restart: %+v", found)
	}
}

// restart stops an installation and starts another one with its file and its data.
func restart(t *testing.T, in *installation) *installation {
	t.Helper()
	in.app.Stop()
	again := &installation{t: t, file: in.file, log: &buffer{}, said: &buffer{}}
	a, err := New(Options{ConfigPath: in.file, Env: noEnv, Stdout: again.said, Stderr: again.log})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Stop)
	again.app = a
	return again
}

// recorded holds the recording to having so many arrivals, and no prompt.
func recorded(t *testing.T, in *installation, want int) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(in.file), "data", "arrivals")
	in.until("the arrivals are on the disk", func() bool {
		files, err := arrivals.Files(dir)
		if err != nil || len(files) != 1 {
			t.Fatalf("%q, %v", files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil || bytes.Contains(b, []byte("secret")) {
			t.Fatalf("%s, %v", b, err)
		}
		n := 0
		for a, err := range arrivals.Read(bytes.NewReader(b)) {
			if err != nil || a.Email == "" || a.Chars == 0 || a.At.IsZero() {
				t.Fatalf("%+v, %v", a, err)
			}
			n++
		}
		return n == want
	})
}

// TestAnyProcessTellsWhy runs every role in a process of its own, and asks the one
// that knows nothing itself.
func TestAnyProcessTellsWhy(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS does not start")
	}
	g := newGated()
	m := newModel(t, g.chat)
	defer g.open()
	config := m.pool(1) + "nats: {url: \"" + s.ClientURL() + "\"}\n"
	leader := install(t, config, RoleDispatcher)
	worker := install(t, config, RoleWorker)
	edge := install(t, config, RoleProxy)
	leader.until("the pool is led", func() bool { return leader.app.status().Pools[0].Leading })
	edge.until("the edge is ready", func() bool { return get(t, edge.app.EdgeURL()+"/readyz").status == http.StatusOK })
	var wg sync.WaitGroup
	ask(edge, &wg, "first", "ann")
	leader.until("the first runs", func() bool {
		found := leader.receipts("user=" + url.QueryEscape("user:ann@example.com"))
		return len(found) == 1 && len(found[0].Queue.Attempts) == 1
	})
	ask(edge, &wg, "second", "bob")
	worker.until("the second waits, and its person is known", func() bool {
		found := worker.receipts("id=second")
		return len(found) == 1 && found[0].Edge != nil && found[0].Queue != nil && found[0].Queue.Now != nil && found[0].Queue.Now.Position == 1
	})
	g.open()
	wg.Wait()
	worker.until("both halves are there", func() bool {
		found := worker.receipts("user=bob@example.com&last=1h")
		return len(found) == 1 && found[0].Edge.Outcome == scheduler.Completed && found[0].Queue != nil && found[0].Queue.Settled > 0
	})
}

// TestNoReceiptsAreKeptIfSo configured.
func TestNoReceiptsAreKeptIfSo(t *testing.T) {
	m := newModel(t, whole)
	in := install(t, m.pool(1)+"history: {receipts: 0}\n")
	in.ready()
	if a := in.post("/v1/chat/completions", chatOf("hi")); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	base := strings.TrimSuffix(in.app.MetricsURL(), "/metrics")
	if a := get(t, base+"/api/v1/receipts"); a.status != http.StatusNotFound || !strings.Contains(a.body, "history.receipts is 0") {
		t.Errorf("%d %s", a.status, a.body)
	}
}
