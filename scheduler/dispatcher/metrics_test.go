package dispatcher

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// series are the samples of a metric by their labels but for the pool, joined by
// commas in the order of the labels' names.
func (h *house) series(name string) map[string]*dto.Metric {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	out := map[string]*dto.Metric{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "pool" {
					labels = append(labels, l.GetValue())
				}
			}
			out[strings.Join(labels, ",")] = m
		}
	}
	return out
}

func (h *house) gaugesOf(name string) map[string]float64 {
	h.t.Helper()
	out := map[string]float64{}
	for k, m := range h.series(name) {
		out[k] = m.GetGauge().GetValue()
	}
	return out
}

func (h *house) counter(name, labels string) float64 {
	h.t.Helper()
	return h.series(name)[labels].GetCounter().GetValue()
}

func (h *house) observed(name, labels string) uint64 {
	h.t.Helper()
	return h.series(name)[labels].GetHistogram().GetSampleCount()
}

func counterValue(t *testing.T, c prometheus.Metric) float64 {
	t.Helper()
	m := &dto.Metric{}
	if err := c.Write(m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
