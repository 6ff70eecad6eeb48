package chaos

import (
	"context"
	"io"
	"testing"
	"time"
)

// callers is the load: twice as many as there are slots.
const callers = 16

// TestKillEachInTurn needs about a minute and a half.
func TestKillEachInTurn(t *testing.T) {
	if testing.Short() {
		t.Skip("starts ten processes: not with -short")
	}
	c := newCluster(t)
	parts := map[string]*process{}
	start := func(name, roles string) { parts[name] = c.role(name, roles) }
	start("dispatcher-1", "dispatcher")
	start("dispatcher-2", "dispatcher")
	start("worker-1", "worker")
	start("worker-2", "worker")
	start("proxy-1", "proxy")
	start("proxy-2", "proxy")
	steady := c.role("proxy-3", "proxy") // is never killed: its clients see it all
	c.waitFor(steady.edge + "/readyz")

	texts := map[string]string{}
	for i := range callers {
		prompt := promptOf(i)
		texts[prompt] = c.reference(prompt)
	}
	expect := func(p string) string { return texts[p] }
	ctx, stop := context.WithCancel(t.Context())
	results := make(chan *tally, 2)
	go func() { results <- load(ctx, []string{steady.edge}, callers, expect) }()
	go func() { results <- load(ctx, []string{parts["proxy-1"].edge, parts["proxy-2"].edge}, callers, expect) }()

	leader := func() string {
		for _, n := range []string{"dispatcher-1", "dispatcher-2"} {
			if parts[n].metric("fairlane_dispatcher_leader") == 1 {
				return n
			}
		}
		return ""
	}
	served := func() float64 { return steady.metric("fairlane_requests_total") }
	goesOn := func(what string) {
		t.Helper()
		before := served()
		c.until(30*time.Second, "requests are served after "+what, func() bool { return served() > before+callers })
	}
	goesOn("the start")

	parts["worker-1"].kill()
	goesOn("a worker was killed")
	start("worker-1", "worker")

	first := leader()
	parts[first].kill()
	goesOn("the leader was killed")
	start(first, "dispatcher")

	parts["proxy-1"].kill()
	goesOn("a proxy was killed")

	second := leader()
	parts["worker-2"].kill()
	parts[second].kill()
	goesOn("a worker and the leader were killed at once")
	start("worker-2", "worker")
	start(second, "dispatcher")
	goesOn("they came back")

	frozen := leader()
	parts[frozen].freeze()
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	goesOn("the leader was stopped")
	<-timer.C
	parts[frozen].thaw()
	goesOn("the old leader woke up")

	stop()
	for range 2 {
		r := <-results
		t.Log(r)
		for _, w := range r.wrong {
			t.Error(w)
		}
	}
	c.until(20*time.Second, "nothing is left in the queue", func() bool { return c.left() == 0 })
}

// reference is what the model answers when nobody stands in between.
func (c *cluster) reference(prompt string) string {
	c.t.Helper()
	resp, err := ask(c.t.Context(), c.model, prompt, false)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	text := textOf(b, false)
	if text == "" {
		c.t.Fatalf("the model answers %s", b)
	}
	return text
}
