package app

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fairlane/proxy/limit/redistest"
)

// BenchmarkRefusal sends 1,000 requests a second over 100 connections to an edge
// that refuses them, for two seconds, with buckets in memory, in Redis, and in
// Redis with another caller for each, so that no refusal is remembered and every
// decision is a round trip. A GET of /healthz over the same connections is what
// HTTP alone takes.
func BenchmarkRefusal(b *testing.B) {
	m := newModel(b, whole)
	server := redistest.Start(b)
	memory := m.pool(64) + "policy: [{limits: 1/year}]\nlog: {level: error}\n"
	shared := memory + "redis: {url: '" + server.URL() + "'}\n"
	for _, bb := range []struct {
		name, config string
		path         string
		distinct     bool
	}{
		{"http alone", memory, "/healthz", false},
		{"memory", memory, "/v1/chat/completions", false},
		{"redis", shared, "/v1/chat/completions", false},
		{"redis, each another caller", shared, "/v1/chat/completions", true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			in := install(b, bb.config)
			in.ready()
			for range 2 { // the first of everybody is granted
				in.refusals(bb.path, bb.distinct)
			}
			var took []time.Duration
			for b.Loop() {
				all, refused := in.refusals(bb.path, bb.distinct)
				if took = append(took, all...); bb.path != "/healthz" && refused != len(all) {
					b.Fatalf("%d of %d were refused", refused, len(all))
				}
			}
			slices.Sort(took)
			ms := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1e3 }
			b.ReportMetric(ms(0.5), "p50-ms")
			b.ReportMetric(ms(0.99), "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// refusals is how long each of 2,000 requests took: 100 connections with one
// every 100 ms each.
func (in *installation) refusals(path string, distinct bool) (took []time.Duration, refused int) {
	const conns, each, every = 100, 20, 100 * time.Millisecond
	byConn := make([][]time.Duration, conns)
	var count atomic.Int64
	var wg sync.WaitGroup
	for c := range conns {
		wg.Go(func() {
			transport := &http.Transport{MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1}
			defer transport.CloseIdleConnections()
			first := time.NewTimer(every * time.Duration(c) / conns)
			defer first.Stop()
			<-first.C
			tick := time.NewTicker(every)
			defer tick.Stop()
			for i := range each {
				req, _ := http.NewRequest(http.MethodGet, in.app.EdgeURL()+path, nil)
				if path != "/healthz" {
					req, _ = http.NewRequest(http.MethodPost, in.app.EdgeURL()+path, strings.NewReader(`{"messages":[{"role":"user","content":"x"}],"max_tokens":20}`))
					req.Header.Set("Content-Type", "application/json")
					who := "ann"
					if distinct {
						who = "u" + strconv.Itoa(c*each+i)
					}
					req.Header.Set("X-OpenWebUI-User-Id", who)
				}
				begin := time.Now()
				resp, err := transport.RoundTrip(req)
				if err != nil {
					in.t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				byConn[c] = append(byConn[c], time.Since(begin))
				if path != "/healthz" && resp.StatusCode == http.StatusTooManyRequests {
					count.Add(1)
				}
				<-tick.C
			}
		})
	}
	wg.Wait()
	return slices.Concat(byConn...), int(count.Load())
}
