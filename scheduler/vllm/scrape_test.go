package vllm

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fairlane/scheduler"
)

func sample(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestScrape(t *testing.T) {
	const running = "vllm:num_requests_running 3\n"
	for _, tc := range []struct {
		name, metrics string
		want          *scheduler.Scrape
	}{
		{"vLLM 0.32", sample(t, "vllm-0.32.prom"), &scheduler.Scrape{Running: 7, Waiting: 2, KVUsage: 0.8125, Preemptions: 12, KVTokens: 8190, BlockSize: 16, PrefixCache: true}},
		{"old names", sample(t, "old-names.prom"), &scheduler.Scrape{Running: 2, KVUsage: 0.25, Preemptions: 1, KVTokens: 3200, BlockSize: 32}},
		{"data-parallel engines", sample(t, "data-parallel.prom"), &scheduler.Scrape{Running: 10, Waiting: 1, KVUsage: 0.4, Preemptions: 3, KVTokens: 2000, BlockSize: 16, PrefixCache: true}},
		{"little", running, &scheduler.Scrape{Running: 3}},
		{"none", "", nil},
		{"of something else", "# TYPE up gauge\nup 1\n", nil},
		{"garbage", "<html>no</html>", nil},
		{"cut off", running + "vllm:num_requests_waiting{engine=", nil},
		{"no numbers", running + "vllm:kv_cache_usage_perc NaN\nvllm:num_preemptions_total +Inf\nvllm:num_requests_waiting -Inf\n", &scheduler.Scrape{Running: 3}},
		{"nonsense", "vllm:num_requests_running -4\nvllm:num_requests_waiting 1e300\n", &scheduler.Scrape{Waiting: 1<<31 - 1}},
		{"no sizes", running + `vllm:cache_config_info{block_size="None",num_gpu_blocks="None",kv_cache_size_tokens="-1"} 1` + "\n", &scheduler.Scrape{Running: 3}},
		{"too long", running + strings.Repeat("# x\n", maxMetrics/4) + running, &scheduler.Scrape{Running: 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, _ := watched(t, &engine{metrics: tc.metrics}, nil)
				got := b.Status().Scrape
				if got != nil && got.At.IsZero() {
					t.Error("it does not say when")
				}
				if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(scheduler.Scrape{}, "At"), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
					t.Error(diff)
				}
				if !b.Status().Up {
					t.Error("metrics are no reason to be down")
				}
				if _, err := json.Marshal(b.Status()); err != nil {
					t.Errorf("it cannot be sent: %v", err)
				}
			})
		})
	}
}

func TestMetricsThatHangAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{}
		b, _ := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/metrics" {
				silent(w, r)
				return
			}
			e.ServeHTTP(w, r)
		}), nil)
		b.Start(t.Context(), nil)
		if s := b.Look(t.Context()); !s.Up || s.Scrape != nil {
			t.Errorf("got %+v", s)
		}
	})
}
