package dispatcher

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
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
	m := newMetrics()
	for _, c := range []prometheus.Collector{m.wait, m.token, m.costs, m.retries, m.requeues, m.suspects, m.errRatio, m.holdTime, m.preempted, m.gauges} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func newMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &Metrics{
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fairlane_queue_wait_seconds", Help: "Time from acceptance until the request was granted a slot for the first time, or left the queue.",
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
		holdTime:  counter("fairlane_hold_seconds_total", "Time a head of the queue did not fit.", "pool", "reason"),
		preempted: counter("fairlane_backend_preemptions_total", "Preemptions as the backend counts them.", "pool", "backend"),
		gauges:    newGauges(),
	}
}

// Why an attempt goes back to the queue, and why it is another one then.
const (
	reasonWorker, reasonProxy, reasonBackend = "worker", "proxy", "backend"
	reasonUnreachable, reasonBusy            = "unreachable", "busy"
	retryDied, retryFailed                   = "died", "failed"
)

// begin makes what counts the faults of a pool and its backends, so that the first one
// is a rise.
func (m *Metrics) begin(pool string, backends []*capacity.Backend) {
	for _, reason := range []string{reasonWorker, reasonProxy, reasonBackend, reasonUnreachable, reasonBusy} {
		m.requeues.WithLabelValues(pool, reason)
	}
	for _, reason := range []string{heldByKV, heldBySlots} {
		m.holdTime.WithLabelValues(pool, reason)
	}
	m.suspects.WithLabelValues(pool)
	for _, b := range backends {
		for _, reason := range []string{reasonWorker, reasonProxy, reasonUnreachable, retryDied, retryFailed} {
			m.retries.WithLabelValues(pool, hostOf(b.URL()), reason)
		}
	}
}

func (m *Metrics) waited(pool, class, end string, d time.Duration) {
	m.wait.WithLabelValues(pool, class, end).Observe(d.Seconds())
}

func (m *Metrics) requeued(pool, reason string) { m.requeues.WithLabelValues(pool, reason).Inc() }

func (m *Metrics) suspect(pool string) { m.suspects.WithLabelValues(pool).Inc() }

func (m *Metrics) retried(pool, backend, reason string) {
	m.retries.WithLabelValues(pool, hostOf(backend), reason).Inc()
}

func (m *Metrics) held(pool, reason string, d time.Duration) {
	m.holdTime.WithLabelValues(pool, reason).Add(max(d, 0).Seconds())
}

func (m *Metrics) preemptions(pool, backend string, more float64) {
	m.preempted.WithLabelValues(pool, hostOf(backend)).Add(max(more, 0))
}

// spent counts what a request cost when it is settled.
func (m *Metrics) spent(pool string, e *scheduler.Entry, u scheduler.Usage, cost fairqueue.Cost) {
	m.costs.WithLabelValues(pool, e.Class).Add(float64(cost) / float64(fairqueue.Token))
	for _, k := range [...]struct {
		kind string
		n    int
	}{{"input", u.Input - u.Cached}, {"cached", u.Cached}, {"output", u.Output}} {
		if k.n > 0 {
			m.token.WithLabelValues(pool, e.Model, e.Class, k.kind).Add(float64(k.n))
		}
	}
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
