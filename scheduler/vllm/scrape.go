package vllm

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"fairlane/scheduler"
)

// scrape reads the backend's /metrics; nil: it has none that we understand.
//
// vLLM renamed gpu_cache_usage_perc to kv_cache_usage_perc; both are read. The
// size of the cache comes from the labels of cache_config_info:
// kv_cache_size_tokens where it exists, else num_gpu_blocks × block_size.
func (b *Backend) scrape(ctx context.Context) *scheduler.Scrape {
	status, body, err := b.get(ctx, "/metrics", maxMetrics)
	if err != nil || status != http.StatusOK {
		return nil
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil
	}
	running, ok := families["vllm:num_requests_running"]
	if !ok {
		return nil
	}
	s := &scheduler.Scrape{
		At:          time.Now(),
		Running:     whole(sum(running)),
		Waiting:     whole(waiting(families)),
		Preemptions: sum(first(families, "vllm:num_preemptions_total", "vllm:num_preemptions")),
	}
	usage := first(families, "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
	if n := len(usage.GetMetric()); n > 0 {
		s.KVUsage = sum(usage) / float64(n) // one engine a data-parallel rank, each with a cache of its own
	}
	cacheConfig(s, families["vllm:cache_config_info"])
	return s
}

// waiting is what waits for capacity. Newer versions tell it from what waits for
// something else (a grammar, KV from elsewhere), of which slots and KV are no cause.
func waiting(families map[string]*dto.MetricFamily) float64 {
	reasons, ok := families["vllm:num_requests_waiting_by_reason"]
	if !ok {
		return sum(families["vllm:num_requests_waiting"])
	}
	capacity := &dto.MetricFamily{}
	for _, m := range reasons.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "reason" && l.GetValue() == "capacity" {
				capacity.Metric = append(capacity.Metric, m)
			}
		}
	}
	return sum(capacity)
}

func first(families map[string]*dto.MetricFamily, names ...string) *dto.MetricFamily {
	for _, n := range names {
		if f, ok := families[n]; ok {
			return f
		}
	}
	return nil
}

// sum adds up what is a number. A report with a NaN in it could not be sent.
func sum(f *dto.MetricFamily) float64 {
	var total float64
	for _, m := range f.GetMetric() {
		switch {
		case m.Gauge != nil:
			total += m.GetGauge().GetValue()
		case m.Counter != nil:
			total += m.GetCounter().GetValue()
		case m.Untyped != nil:
			total += m.GetUntyped().GetValue()
		}
	}
	if math.IsNaN(total) || math.IsInf(total, 0) {
		return 0
	}
	return total
}

func whole(x float64) int { return int(min(max(x, 0), math.MaxInt32)) }

func cacheConfig(s *scheduler.Scrape, f *dto.MetricFamily) {
	for _, m := range f.GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		s.BlockSize = atoi(labels["block_size"])
		tokens := atoi(labels["kv_cache_size_tokens"])
		if tokens == 0 {
			tokens = atoi(labels["num_gpu_blocks"]) * s.BlockSize
		}
		s.KVTokens += tokens
		s.PrefixCache = s.PrefixCache || labels["enable_prefix_caching"] == "True"
	}
}

func atoi(s string) int {
	n, err := strconv.ParseUint(s, 10, 31) // "None" too
	if err != nil {
		return 0
	}
	return int(n)
}
