package proxy

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/proxy/identity"
	"fairlane/scheduler"
)

// metrics are the edge's. Children are looked up once and kept by what they are
// labelled with.
type metrics struct {
	requests     *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	duration     *prometheus.HistogramVec
	firstToken   *prometheus.HistogramVec
	interToken   *prometheus.HistogramVec
	authFailures *prometheus.CounterVec

	mu      sync.RWMutex
	ends    map[endKey]endMetrics
	streams map[streamKey]streamMetrics
}

type endKey struct {
	pool, model, class string
	outcome            scheduler.Outcome
}

type endMetrics struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

type streamKey struct{ pool, class string }

type streamMetrics struct{ firstToken, interToken prometheus.Observer }

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: scheduler.DurationBuckets()}, labels)
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests:     counter("fairlane_requests_total", "Requests by how they ended; each ends once.", "pool", "model", "class", "outcome"),
		refusals:     counter("fairlane_refusals_total", "Requests refused by a limit or a bound.", "pool", "class", "reason"),
		duration:     histogram("fairlane_request_duration_seconds", "From a request's arrival to its end.", "pool", "class", "outcome"),
		firstToken:   histogram("fairlane_time_to_first_token_seconds", "From a stream's arrival to its first content.", "pool", "class"),
		interToken:   histogram("fairlane_inter_token_latency_seconds", "Between content events of a stream.", "pool", "class"),
		authFailures: counter("fairlane_auth_failures_total", "Credentials that were not accepted.", "reason"),
		ends:         map[endKey]endMetrics{},
		streams:      map[streamKey]streamMetrics{},
	}
	for _, reason := range identity.Reasons() { // so that the first one is a rise
		m.authFailures.WithLabelValues(string(reason))
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.refusals, m.duration, m.firstToken, m.interToken, m.authFailures} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// ended counts a request's end.
func (m *metrics) ended(r *record) {
	e := m.end(endKey{r.pool, r.model, r.class, r.outcome})
	e.requests.Inc()
	e.duration.Observe(r.ended.Sub(r.started).Seconds())
	if p := r.problem; p != nil && p.Reason != "" && r.outcome == scheduler.Refused {
		m.refusals.WithLabelValues(r.pool, r.class, string(p.Reason)).Inc()
	}
}

func (m *metrics) end(k endKey) endMetrics {
	m.mu.RLock()
	e, ok := m.ends[k]
	m.mu.RUnlock()
	if ok {
		return e
	}
	e = endMetrics{
		requests: m.requests.WithLabelValues(k.pool, k.model, k.class, string(k.outcome)),
		duration: m.duration.WithLabelValues(k.pool, k.class, string(k.outcome)),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends[k] = e
	return e
}

// stream is what the streams of a class are measured with.
func (m *metrics) stream(pool, class string) streamMetrics {
	k := streamKey{pool, class}
	m.mu.RLock()
	s, ok := m.streams[k]
	m.mu.RUnlock()
	if ok {
		return s
	}
	s = streamMetrics{m.firstToken.WithLabelValues(pool, class), m.interToken.WithLabelValues(pool, class)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.streams[k] = s
	return s
}

// authFailed counts a credential that was not accepted.
func (m *metrics) authFailed(p *scheduler.Problem) {
	reason := string(p.Reason)
	if reason == "" {
		reason = string(p.Code)
	}
	m.authFailures.WithLabelValues(reason).Inc()
}
