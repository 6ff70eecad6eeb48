package dispatcher

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// gauge is one sample of a snapshot.
type gauge struct {
	desc   *prometheus.Desc
	value  float64
	labels []string
}

// gauges serves the last snapshot of each pool.
type gauges struct {
	depth, tokens, oldest, running, slots, kv, budget, up, share, entitled, leader, beta, load *prometheus.Desc

	mu    sync.Mutex
	pools map[string][]gauge
}

func newGauges() *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"pool"}, labels...), nil)
	}
	return &gauges{
		depth:    desc("fairlane_queue_depth", "Requests waiting.", "class"),
		tokens:   desc("fairlane_queue_tokens", "Estimated cost that waits, in weighted tokens.", "class"),
		oldest:   desc("fairlane_queue_oldest_seconds", "Age of the oldest waiting request.", "class"),
		running:  desc("fairlane_running", "Sequences running at the backend for us.", "backend", "class"),
		slots:    desc("fairlane_backend_slots", "The concurrency cap in force.", "backend"),
		kv:       desc("fairlane_backend_kv_tokens", "KV tokens counted as held.", "backend"),
		budget:   desc("fairlane_backend_kv_budget_tokens", "KV tokens that may be held.", "backend"),
		up:       desc("fairlane_backend_up", "1, or 0 while unhealthy, draining or broken open.", "backend"),
		share:    desc("fairlane_class_share", "Share of the cost delivered over the last minute.", "class"),
		entitled: desc("fairlane_class_entitled_share", "The share that the class's weight entitled it to.", "class"),
		leader:   desc("fairlane_dispatcher_leader", "1 in the process that holds the pool's lease."),
		load:     desc("fairlane_load_level", "How loaded the pool is, 1 to -1 (long idle); limits that follow the load are as written at 0."),
		beta:     desc("fairlane_backend_kv_beta", "Part of the KV cache that the controller lets be held.", "backend"),
		pools:    map[string][]gauge{},
	}
}

func (g *gauges) set(pool string, s []gauge) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s == nil {
		delete(g.pools, pool)
		return
	}
	g.pools[pool] = s
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.depth, g.tokens, g.oldest, g.running, g.slots, g.kv, g.budget, g.up, g.share, g.entitled, g.leader, g.beta, g.load} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, samples := range g.pools {
		for _, s := range samples {
			ch <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, s.value, s.labels...)
		}
	}
}
