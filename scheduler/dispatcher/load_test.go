package dispatcher

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"fairlane/proxy"
	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
	"fairlane/scheduler/calls"
)

// edge is what a proxy has of limits: interns may send 20 a minute, between half of it
// and twice as many by the load.
type edge struct {
	h       *house
	loads   *proxy.Loads
	rules   *policy.Policy
	limiter *proxy.Buckets
}

func (h *house) addEdge(id string, store limit.Store) *edge {
	h.t.Helper()
	set, err := limit.Parse("20/minute")
	if err != nil {
		h.t.Fatal(err)
	}
	cfg := policy.Defaults()
	cfg.Rules = []policy.Rule{{When: policy.When{Role: []string{"intern"}}, Limits: &policy.Limits{Text: "20/minute", Set: set}, Follow: &policy.Follow{From: 0.5, To: 2}}}
	e := &edge{h: h}
	if e.rules, err = policy.New(cfg); err != nil {
		h.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if e.loads, err = proxy.NewLoads(proxy.LoadsConfig{Pools: []string{pool}, Rules: e.rules.Following, Logger: log}); err != nil {
		h.t.Fatal(err)
	}
	if e.limiter, err = proxy.NewLimiter(proxy.LimiterConfig{Store: store, Logger: log}); err != nil {
		h.t.Fatal(err)
	}
	d := calls.New(calls.Config{ID: id, Streams: map[string]calls.Publisher{pool: h.stream}, Bus: h.bus.from(id), NewID: func() string { return id }, Load: e.loads.Hear})
	d.Start(h.t.Context())
	h.desks[id] = d
	h.bus.mu.Lock()
	defer h.bus.mu.Unlock()
	h.bus.proxies[id] = d
	return e
}

// send asks for one request of an intern.
func (e *edge) send(who string) (most int64, p *scheduler.Problem) {
	e.h.t.Helper()
	d, p := e.rules.Decide(&identity.Identity{UserKey: "user:" + who, Roles: []string{"intern"}}, &policy.Query{Endpoint: openai.Chat, Sequences: 1, Load: e.loads.Level(pool)})
	if p != nil {
		e.h.t.Fatal(p)
	}
	a, p := e.limiter.Take(context.Background(), d, proxy.Need{Sequences: 1})
	return a.Requests.Limit, p
}

// level is the leader's.
func (h *house) level() (level int) {
	h.t.Helper()
	h.look(func(l *leader) { level = l.load.Level() })
	return level
}

// TestLimitsFollowTheLoadOnAllProxies: they rise while nobody is there, shrink while
// people wait, and are restored when those have gone, on both proxies alike.
func TestLimitsFollowTheLoadOnAllProxies(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		store := limit.NewMemory(limit.MemoryConfig{})
		edges := []*edge{h.addEdge("p1", store), h.addEdge("p2", store)}
		may := func(want int64) {
			t.Helper()
			advance(2 * time.Second) // it has been told
			for i, e := range edges {
				if got, _ := e.send("ann"); got != want {
					t.Errorf("proxy %d: an intern may send %d a minute, expected %d at level %d", i, got, want, h.level())
				}
			}
		}
		may(20)
		advance(2 * time.Minute)
		may(40)

		var all []*client
		for i := range 80 {
			all = append(all, h.ask(wish{user: strconv.Itoa(i % 40), in: 10, out: 2000, maxTokens: 2000}))
		}
		advance(90 * time.Second)
		may(10)
		advance(time.Minute)
		spent := 0 // on both together
		var told *scheduler.Problem
		for i := range 30 {
			if _, p := edges[i%2].send("bob"); p == nil {
				spent++
			} else {
				told = p
			}
		}
		if spent != 10 || told == nil || told.Limit != "10/minute" || !strings.Contains(told.Message, "You may send 10 requests a minute while the server is busy; ") {
			t.Errorf("bob sent %d of 10, and then is told %+v", spent, told)
		}

		for _, c := range all {
			c.served(t)
		}
		if h.level() < scheduler.MostLoad-1 {
			t.Errorf("level %d when the last is served", h.level())
		}
		for h.level() > 0 {
			advance(time.Second)
		}
		may(20)
		advance(2 * time.Minute)
		may(40)
	})
}

// TestOwnBacklogIsNoLoad: one with many requests waits for itself. The pool is not
// idle either.
func TestOwnBacklogIsNoLoad(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		for range 60 {
			h.ask(wish{user: "u", in: 10, out: 1000, maxTokens: 1000})
			advance(10 * time.Millisecond)
		}
		for range 60 {
			advance(time.Second)
			h.look(func(l *leader) {
				if w := l.turnWait(time.Now()); w >= 10*time.Second {
					t.Errorf("the wait for a turn is %v", w)
				}
				if n := l.load.Level(); n != 0 {
					t.Errorf("level %d", n)
				}
			})
		}
	})
}

// TestTheLoadByKV rises with what is held of it, though nobody waits, and is told by
// the metric.
func TestTheLoadByKV(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		g := h.gpus[gpuA]
		g.set(func() { g.metrics, g.kv = true, 16_000 })
		advance(2 * time.Second)
		c := h.ask(wish{user: "u", in: 12_000, out: 3000, maxTokens: 3000})
		advance(20 * time.Second)
		h.look(func(l *leader) {
			if use := l.turn.KVUse(); use < 0.9 || l.turnWait(time.Now()) > 0 {
				t.Errorf("%v of the KV is held, a turn takes %v", use, l.turnWait(time.Now()))
			}
		})
		if got := h.gaugesOf("fairlane_load_level")[""]; got < 0.7 {
			t.Errorf("the metric says %v", got)
		}
		c.served(t)
	})
}

// TestTheLoadOutlivesItsLeader: the next one goes on where it was.
func TestTheLoadOutlivesItsLeader(t *testing.T) {
	inHouse(t, plan{dispatchers: 2}, func(h *house) {
		e := h.addEdge("p1", limit.NewMemory(limit.MemoryConfig{}))
		advance(3 * time.Minute)
		if n := h.level(); n != -scheduler.MostLoad {
			t.Fatalf("level %d", n)
		}
		h.leases[0].end()
		advance(5 * time.Second)
		if n := e.loads.Level(pool); n != -scheduler.MostLoad {
			t.Errorf("while nobody leads it is %d at once", n)
		}
		h.elect(1)
		advance(3 * time.Second)
		if n := h.level(); n != -scheduler.MostLoad {
			t.Errorf("the next leader begins at %d", n)
		}
		h.leases[1].end()
		advance(30 * time.Second)
		if n := e.loads.Level(pool); n != 0 {
			t.Errorf("of a pool that nobody leads it is %d", n)
		}
		h.addDispatcher()
		h.elect(2)
		advance(2 * time.Second)
	})
}

// TestTheLoadStaysWithoutABackend: nothing can be said of it then.
func TestTheLoadStaysWithoutABackend(t *testing.T) {
	inHouse(t, plan{}, func(h *house) {
		advance(45 * time.Second)
		before := h.level()
		h.gpus[gpuA].kill()
		advance(2 * time.Minute)
		if n := h.level(); before >= 0 || n != before {
			t.Errorf("level %d, and %d before", n, before)
		}
		h.gpus[gpuA].revive()
		advance(3 * time.Second)
	})
}
