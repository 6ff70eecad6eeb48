package vllmsim

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/scheduler/gpumodel"
)

// metrics are vLLM's own, under its names. What the engine counts is read when it
// is asked for; what happens to a request is observed by the loop.
type metrics struct {
	registry *prometheus.Registry

	ttft, itl, e2e, queue, prefill, decode, inference prometheus.Observer
	perToken, promptTokens, generationTokens          prometheus.Observer
	iterationTokens, preemptions, paramsN, paramsMax  prometheus.Observer
	mostTokens                                        prometheus.Observer
	computed                                          prometheus.Observer
	success                                           *prometheus.CounterVec
	rejected                                          *prometheus.CounterVec
}

// metric is a name of vLLM's.
func metric(name string) string { return "vllm:" + name }

// vLLM's buckets.
func latencyBuckets() []float64 {
	return []float64{0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}
}

func firstTokenBuckets() []float64 {
	return []float64{
		0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560,
	}
}

func tokenLatencyBuckets() []float64 {
	return []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
}

func countBuckets(most float64) []float64 {
	var out []float64
	for decade := 1.0; ; decade *= 10 {
		for _, m := range []float64{1, 2, 5} {
			if m*decade > most {
				return out
			}
			out = append(out, m*decade)
		}
	}
}

func newMetrics(model string, maxLen int) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()} // not the process's: there may be many servers in one
	reg := prometheus.WrapRegistererWith(prometheus.Labels{"model_name": model, "engine": "0"}, m.registry)
	histogram := func(name, help string, buckets []float64) prometheus.Observer {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: metric(name), Help: help, Buckets: buckets})
		reg.MustRegister(h)
		return h
	}
	tokens := countBuckets(float64(maxLen))
	m.ttft = histogram("time_to_first_token_seconds", "Histogram of time to first token in seconds.", firstTokenBuckets())
	m.itl = histogram("inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", tokenLatencyBuckets())
	m.perToken = histogram("request_time_per_output_token_seconds", "Histogram of time per output token of a request.", tokenLatencyBuckets())
	m.e2e = histogram("e2e_request_latency_seconds", "Histogram of end-to-end request latency in seconds.", latencyBuckets())
	m.queue = histogram("request_queue_time_seconds", "Histogram of time spent waiting.", latencyBuckets())
	m.inference = histogram("request_inference_time_seconds", "Histogram of time spent running.", latencyBuckets())
	m.prefill = histogram("request_prefill_time_seconds", "Histogram of time spent in prefill.", latencyBuckets())
	m.decode = histogram("request_decode_time_seconds", "Histogram of time spent in decode.", latencyBuckets())
	m.promptTokens = histogram("request_prompt_tokens", "Number of prefill tokens processed.", tokens)
	m.generationTokens = histogram("request_generation_tokens", "Number of generation tokens processed.", tokens)
	m.computed = histogram("request_prefill_kv_computed_tokens", "Histogram of new KV tokens computed in prefill.", tokens)
	m.paramsMax = histogram("request_params_max_tokens", "Histogram of the max_tokens request parameter.", tokens)
	m.mostTokens = histogram("request_max_num_generation_tokens", "Histogram of the most tokens of a request's choices.", tokens)
	m.paramsN = histogram("request_params_n", "Histogram of the n request parameter.", []float64{1, 2, 5, 10, 20})
	m.preemptions = histogram("request_num_preemptions", "Histogram of preemptions of a request.", []float64{1, 2, 3, 4, 5, 10, 20})
	m.iterationTokens = histogram("iteration_tokens_total", "Histogram of tokens in an engine step.",
		[]float64{1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384})
	m.countEnds(reg, model)
	return m
}

func (m *metrics) countEnds(reg prometheus.Registerer, model string) {
	m.success = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: metric("request_success_total"), Help: "Count of successfully processed requests.",
	}, []string{"finished_reason"})
	reg.MustRegister(m.success)
	for _, r := range []string{"stop", "length", "abort", "error", "repetition"} {
		m.success.WithLabelValues(r)
	}
	m.rejected = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: metric("admission_rejections_total"), Help: "Requests refused because the queue was full.",
		ConstLabels: prometheus.Labels{"model_name": model},
	}, []string{"reason"})
	m.registry.MustRegister(m.rejected)
	for _, r := range []string{"max_num_queued_reqs", "max_num_queued_tokens"} {
		m.rejected.WithLabelValues(r)
	}
}

// refused counts a request that the engine's bounds kept out.
func (m *metrics) refused(err error) {
	switch {
	case errors.Is(err, gpumodel.ErrBusy):
		m.rejected.WithLabelValues("max_num_queued_reqs").Inc()
	case errors.Is(err, gpumodel.ErrBacklog):
		m.rejected.WithLabelValues("max_num_queued_tokens").Inc()
	}
}

func (m *metrics) scheduled(s *sequence, cached int) {
	m.queue.Observe(s.scheduled.Sub(s.arrived).Seconds())
	m.computed.Observe(float64(len(s.prompt.tokens) - cached))
}

func (m *metrics) step(st gpumodel.Step) { m.iterationTokens.Observe(float64(st.Prefill + st.Decode)) }

func (m *metrics) token(s *sequence, now time.Time) {
	if s.first.IsZero() {
		s.first = now
		m.ttft.Observe(now.Sub(s.arrived).Seconds())
	} else {
		m.itl.Observe(now.Sub(s.last).Seconds())
	}
	s.last = now
}

func (m *metrics) finished(s *sequence, now time.Time, generated int) {
	m.e2e.Observe(now.Sub(s.arrived).Seconds())
	m.inference.Observe(now.Sub(s.scheduled).Seconds())
	m.promptTokens.Observe(float64(len(s.prompt.tokens)))
	m.preemptions.Observe(float64(s.preempted))
	m.success.WithLabelValues(s.finish).Inc()
	m.mostTokens.Observe(float64(generated))
	if generated == 0 {
		return
	}
	m.paramsMax.Observe(float64(s.limit))
	m.paramsN.Observe(float64(s.choices))
	m.prefill.Observe(s.first.Sub(s.scheduled).Seconds())
	m.decode.Observe(now.Sub(s.first).Seconds())
	m.generationTokens.Observe(float64(generated))
	if generated > 1 {
		m.perToken.Observe(now.Sub(s.first).Seconds() / float64(generated-1))
	}
}

// engineMetrics reads the loop's state at every scrape.
type engineMetrics struct {
	loop   *loop
	labels []string // model_name, engine
}

type reading struct {
	name, help string
	kind       prometheus.ValueType
	value      float64
	key, label string // a further label, if any
}

// Describe implements prometheus.Collector; what it sends at a scrape is fixed.
func (c *engineMetrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *engineMetrics) Collect(ch chan<- prometheus.Metric) {
	st, _ := c.loop.state()
	for _, r := range engineReadings(st) {
		names, values := []string{"model_name", "engine"}, c.labels
		if r.key != "" {
			names, values = append(names, r.key), append(slices.Clip(values), r.label)
		}
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(metric(r.name), r.help, names, nil), r.kind, r.value, values...)
	}
	ch <- c.cacheInfo(st)
}

func engineReadings(st gpumodel.Stats) []reading {
	const g, n = prometheus.GaugeValue, prometheus.CounterValue
	used := float64(st.KVUsed) / float64(st.KVBlocks)
	f := func(i int) float64 { return float64(i) }
	return []reading{
		{"num_requests_running", "Number of requests in model execution batches.", g, f(st.Running), "", ""},
		{"num_requests_waiting", "Number of requests waiting to be processed.", g, f(st.Waiting), "", ""},
		{"num_requests_waiting_by_reason", "Number of waiting requests by reason.", g, f(st.Waiting), "reason", "capacity"},
		{"num_requests_waiting_by_reason", "Number of waiting requests by reason.", g, 0, "reason", "deferred"},
		{"engine_sleep_state", "Engine sleep state.", g, 1, "sleep_state", "awake"},
		{"engine_sleep_state", "Engine sleep state.", g, 0, "sleep_state", "weights_offloaded"},
		{"engine_sleep_state", "Engine sleep state.", g, 0, "sleep_state", "discard_all"},
		{"kv_cache_usage_perc", "KV-cache usage. 1 means 100 percent usage.", g, used, "", ""},
		{"num_preemptions_total", "Cumulative number of preemptions.", n, f(st.Preemptions), "", ""},
		{"prompt_tokens_total", "Number of prefill tokens processed.", n, f(st.PromptTokens), "", ""},
		{"prompt_tokens_cached_total", "Number of cached prompt tokens.", n, f(st.PrefixHitTokens), "", ""},
		{"generation_tokens_total", "Number of generation tokens processed.", n, f(st.GeneratedTokens), "", ""},
		{"prefix_cache_queries_total", "Prefix cache queries, in queried tokens.", n, f(st.PrefixQueryTokens), "", ""},
		{"prefix_cache_hits_total", "Prefix cache hits, in cached tokens.", n, f(st.PrefixHitTokens), "", ""},
		{"prompt_tokens_by_source_total", "Number of prompt tokens by source.", n, f(st.PromptTokens - st.PrefixHitTokens), "source", "local_compute"},
		{"prompt_tokens_by_source_total", "Number of prompt tokens by source.", n, f(st.PrefixHitTokens), "source", "local_cache_hit"},
		{"prompt_tokens_by_source_total", "Number of prompt tokens by source.", n, 0, "source", "external_kv_transfer"},
		{"prompt_tokens_cached_by_source_total", "Number of cached prompt tokens by source.", n, f(st.PrefixHitTokens), "source", "device"},
		{"external_prefix_cache_queries_total", "External prefix cache queries, in queried tokens.", n, 0, "", ""},
		{"external_prefix_cache_hits_total", "External prefix cache hits, in cached tokens.", n, 0, "", ""},
		{"mm_cache_queries_total", "Multi-modal cache queries, in queried items.", n, 0, "", ""},
		{"mm_cache_hits_total", "Multi-modal cache hits, in cached items.", n, 0, "", ""},
	}
}

// cacheInfo is the shape of the cache, as labels.
func (c *engineMetrics) cacheInfo(st gpumodel.Stats) prometheus.Metric {
	p := c.loop.cfg.Profile
	tokens := st.KVBlocks * p.BlockSize
	names := []string{
		"engine", "block_size", "num_gpu_blocks", "enable_prefix_caching", "cache_dtype", "gpu_memory_utilization",
		"kv_cache_size_tokens", "kv_cache_max_concurrency",
	}
	values := []string{
		c.labels[1], strconv.Itoa(p.BlockSize), strconv.Itoa(st.KVBlocks), "True", "auto", "0.92",
		strconv.Itoa(tokens), strconv.FormatFloat(float64(tokens)/float64(p.MaxModelLen), 'f', -1, 64),
	}
	d := prometheus.NewDesc(metric("cache_config_info"), "Information of the LLMEngine CacheConfig", names, nil)
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, 1, values...)
}
