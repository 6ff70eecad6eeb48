package chaos

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

const alone = `
listen: "127.0.0.1:${EDGE}"
admin: {listen: "127.0.0.1:${ADMIN}"}
data_dir: "${DATA}"
pools:
  - name: main
    backends: [{url: "${BACKEND}", slots: 2}]
policy:
  - {limits: "100000/minute", max_running: 0, max_queued: 100000}
`

// TestKillWhole kills a process that is everything at once, with requests running
// and many more waiting. What waited had its clients connected to that process,
// so after the restart none of it may reach the GPU, and the store has to be fit
// for new work.
func TestKillWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes: not with -short")
	}
	const waiting = 40
	c := newCluster(t)
	c.config = filepath.Join(c.dir, "alone.yaml")
	if err := os.WriteFile(c.config, []byte(alone), 0o600); err != nil {
		t.Fatal(err)
	}
	first := c.role("everything", "proxy,dispatcher,worker")
	c.waitFor(first.edge + "/readyz")
	c.until(20*time.Second, "the backend is up", func() bool { return first.metric("fairlane_backend_up") == 1 })

	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	var wg sync.WaitGroup
	for i := range waiting {
		wg.Go(func() {
			resp, err := ask(ctx, first.edge, promptOf(i), false)
			if err == nil {
				resp.Body.Close()
			}
		})
	}
	c.until(20*time.Second, "most of them wait", func() bool { return first.metric("fairlane_queue_depth") > waiting/2 })
	first.kill()
	giveUp()
	wg.Wait()
	c.until(20*time.Second, "the GPU is idle", func() bool { return c.engine("num_requests_running") == 0 })
	served := c.engine("generation_tokens_total")

	again := c.role("everything", "proxy,dispatcher,worker")
	c.waitFor(again.edge + "/readyz")
	c.until(20*time.Second, "the backend is up again", func() bool { return again.metric("fairlane_backend_up") == 1 })
	if n := again.metric("fairlane_queue_depth"); n != 0 {
		t.Errorf("%v requests of clients that are gone wait after the restart", n)
	}
	if n := c.engine("generation_tokens_total"); n != served {
		t.Errorf("the GPU made %v tokens for clients that are gone", n-served)
	}
	resp, err := ask(t.Context(), again.edge, promptOf(0), false)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a new request is answered %d", resp.StatusCode)
	}
}

// engine is the sum of one of the emulated vLLM's metrics; -1 if it is not there.
func (c *cluster) engine(name string) float64 {
	c.t.Helper()
	_, body := get(c.model + "/metrics")
	found := regexp.MustCompile(`(?m)^vllm:` + name + `(?:\{[^}]*\})? (\S+)$`).FindStringSubmatch(body)
	if found == nil {
		return -1
	}
	v, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		return -1
	}
	return v
}
