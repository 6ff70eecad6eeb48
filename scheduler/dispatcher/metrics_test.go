package dispatcher

import (
	"maps"
	"slices"
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

// TestFaultsAreCountedFromNothing: a series that begins with its first fault does not
// rise by it.
func TestFaultsAreCountedFromNothing(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 4}}, func(h *house) {
		h.ask(wish{}).served(t)
		for name, want := range map[string]string{
			"fairlane_requeues_total":               "backend busy proxy unreachable worker",
			"fairlane_backend_retries_total":        "gpu-a:8000,died gpu-a:8000,failed gpu-a:8000,proxy gpu-a:8000,unreachable gpu-a:8000,worker",
			"fairlane_hold_seconds_total":           "kv slots",
			"fairlane_backend_crash_suspects_total": "",
		} {
			series := h.series(name)
			if got := strings.Join(slices.Sorted(maps.Keys(series)), " "); got != want || len(series) == 0 {
				t.Errorf("%s has %q, want %q", name, got, want)
			}
			for labels := range series {
				if n := h.counter(name, labels); n != 0 {
					t.Errorf("%s of %s is %v", name, labels, n)
				}
			}
		}
	})
}
