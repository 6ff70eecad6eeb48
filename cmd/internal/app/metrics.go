package app

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are what every process exports, whatever its roles.
type metrics struct {
	natsUp     prometheus.Gauge
	reloadedAt prometheus.Gauge
	reloadOK   prometheus.Gauge
	leases     *prometheus.CounterVec

	receiptsDropped prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		natsUp:     gauge("fairlane_nats_up", "1 while JetStream answers, else 0."),
		reloadedAt: gauge("fairlane_config_reload_timestamp_seconds", "When the configuration was last read."),
		reloadOK:   gauge("fairlane_config_reload_ok", "1 if the configuration that was read last was taken, else 0."),
		leases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlane_lease_transitions_total", Help: "Times that this process became the leader of a pool.",
		}, []string{"pool"}),
	}
	m.receiptsDropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fairlane_receipts_dropped_total", Help: "Halves of receipts that were not kept, because the store did not take them.",
	})
	b := ReadBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fairlane_build_info", Help: "What is running; always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.GoVersion},
	})
	info.Set(1)
	all := []prometheus.Collector{
		m.natsUp, m.reloadedAt, m.reloadOK, m.leases, m.receiptsDropped, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	m.natsUp.Set(1)
	m.reloaded(nil)
	return m, nil
}

// store notes whether JetStream answers.
func (m *metrics) store(err error) {
	m.natsUp.Set(1)
	if err != nil {
		m.natsUp.Set(0)
	}
}

// reloaded notes that the configuration was read, and whether it was taken.
func (m *metrics) reloaded(err error) {
	m.reloadedAt.Set(float64(time.Now().UnixMilli()) / 1e3)
	m.reloadOK.Set(1)
	if err != nil {
		m.reloadOK.Set(0)
	}
}
