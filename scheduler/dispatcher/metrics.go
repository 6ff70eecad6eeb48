package dispatcher

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// Metrics are what the lease holders of all pools in this process export.
// Gauges come from the last snapshot of a leader and vanish with it; counters
// stay.
type Metrics struct {
	wait      *prometheus.HistogramVec
	token     *prometheus.CounterVec
	costs     *prometheus.CounterVec
	retries   *prometheus.CounterVec
	requeues  *prometheus.CounterVec
	suspects  *prometheus.CounterVec
	errRatio  *prometheus.HistogramVec
	holdTime  *prometheus.CounterVec
	preempted *prometheus.CounterVec
	gauges    *gauges
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fairlane_queue_wait_seconds", Help: "Time from acceptance until the request was granted a slot, or left the queue.",
			Buckets: scheduler.DurationBuckets(),
		}, []string{"pool", "class", "end"}),
		token:    counter("fairlane_tokens_total", "Tokens by kind; input excludes cached.", "pool", "model", "class", "kind"),
		costs:    counter("fairlane_cost_total", "Cost charged, net, in weighted tokens.", "pool", "class"),
		retries:  counter("fairlane_backend_retries_total", "Attempts repeated before the first byte.", "pool", "backend", "reason"),
		requeues: counter("fairlane_requeues_total", "Attempts that went back to their place in the queue.", "pool", "reason"),
		suspects: counter("fairlane_backend_crash_suspects_total", "Requests in flight at two deaths of a backend.", "pool"),
		errRatio: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fairlane_estimate_error_ratio", Help: "Actual over expected tokens.",
			Buckets: []float64{0.1, 0.25, 0.5, 0.8, 0.95, 1.05, 1.25, 2, 4, 10},
		}, []string{"pool", "kind"}),
		holdTime:  counter("fairlane_hold_seconds_total", "Time a head of the queue did not fit.", "pool"),
		preempted: counter("fairlane_backend_preemptions_total", "Preemptions as the backend counts them.", "pool", "backend"),
		gauges:    newGauges(),
	}
	for _, c := range []prometheus.Collector{m.wait, m.token, m.costs, m.retries, m.requeues, m.suspects, m.errRatio, m.holdTime, m.preempted, m.gauges} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Metrics) waited(pool, class, end string, d time.Duration) {
	m.wait.WithLabelValues(pool, class, end).Observe(d.Seconds())
}

func (m *Metrics) requeued(pool, reason string) { m.requeues.WithLabelValues(pool, reason).Inc() }

func (m *Metrics) suspect(pool string) { m.suspects.WithLabelValues(pool).Inc() }

func (m *Metrics) retried(pool string, ev *scheduler.Event, it *item) {
	reason := "failed"
	switch {
	case ev.Refused:
		reason = "unreachable"
	case ev.Died:
		reason = "died"
	}
	m.retries.WithLabelValues(pool, hostOf(it.run.backend.State().URL), reason).Inc()
}

func (m *Metrics) tokens(pool string, e *scheduler.Entry, u scheduler.Usage) {
	for kind, n := range map[string]int{"input": u.Input - u.Cached, "cached": u.Cached, "output": u.Output} {
		if n > 0 {
			m.token.WithLabelValues(pool, e.Model, e.Class, kind).Add(float64(n))
		}
	}
}

func (m *Metrics) cost(pool, class string, cost int64) {
	m.costs.WithLabelValues(pool, class).Add(float64(cost) / float64(fairqueue.Token))
}

func (m *Metrics) learned(pool string, in fairqueue.Input, u scheduler.Usage) {
	ratio := func(kind string, actual, expected int) {
		if expected > 0 {
			m.errRatio.WithLabelValues(pool, kind).Observe(float64(actual) / float64(expected))
		}
	}
	ratio("input", u.Input, in.Tokens)
	ratio("output", u.Output, in.Expected*in.Sequences)
	if u.CachedKnown {
		ratio("cached", u.Cached, in.Cached)
	}
}

func (m *Metrics) drop(pool string) { m.gauges.set(pool, nil) }

// gauge is one sample of a snapshot.
type gauge struct {
	desc   *prometheus.Desc
	value  float64
	labels []string
}

// gauges serves the last snapshot of each pool.
type gauges struct {
	depth, tokens, oldest, running, slots, kv, budget, up, share, entitled, leader, beta *prometheus.Desc

	mu    sync.Mutex
	pools map[string][]gauge
}

func newGauges() *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("fairlane_"+name, help, append([]string{"pool"}, labels...), nil)
	}
	return &gauges{
		depth:    desc("queue_depth", "Requests waiting.", "class"),
		tokens:   desc("queue_tokens", "Estimated cost that waits, in weighted tokens.", "class"),
		oldest:   desc("queue_oldest_seconds", "Age of the oldest waiting request.", "class"),
		running:  desc("running", "Sequences running at the backend for us.", "backend", "class"),
		slots:    desc("backend_slots", "The concurrency cap in force.", "backend"),
		kv:       desc("backend_kv_tokens", "KV tokens counted as held.", "backend"),
		budget:   desc("backend_kv_budget_tokens", "KV tokens that may be held.", "backend"),
		up:       desc("backend_up", "1, or 0 while unhealthy, draining or broken open.", "backend"),
		share:    desc("class_share", "Share of the cost delivered over the last minute.", "class"),
		entitled: desc("class_entitled_share", "The share that the class's weight entitled it to.", "class"),
		leader:   desc("dispatcher_leader", "1 in the process that holds the pool's lease."),
		beta:     desc("backend_kv_beta", "Part of the KV cache that the controller lets be held.", "backend"),
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
	for _, d := range []*prometheus.Desc{g.depth, g.tokens, g.oldest, g.running, g.slots, g.kv, g.budget, g.up, g.share, g.entitled, g.leader, g.beta} {
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
