package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"fairlane/proxy/identity"
)

// The benchmarks of a whole process: the edge with a JWT, two limits, metrics and
// the log on, an embedded JetStream with its files, and a backend that costs
// next to nothing. `direct` calls that backend, `reverse_proxy` calls it through
// httputil.ReverseProxy; both in the same run, for only ratios count here.

const benchSecret = "0123456789abcdef0123456789abcdef"

const benchChunk = `data: {"id":"chatcmpl-5f0d7a3b1c","object":"chat.completion.chunk","created":1763990000,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}` + "\n\n"

const lastChunk = `data: {"id":"chatcmpl-5f0d7a3b1c","object":"chat.completion.chunk","created":1763990000,"model":"m","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}` + "\n\n" + "data: [DONE]\n\n"

// benchModel answers whole chats with 2 KB, and streams as its request says:
// max_tokens chunks, one each `seed` milliseconds.
func benchModel(b *testing.B) *model {
	b.Helper()
	text := strings.Repeat("word ", 400)
	body := fmt.Appendf(nil, `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":400,"completion_tokens":400,"total_tokens":800}}`, text)
	return newModel(b, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var q struct {
			Stream    bool `json:"stream"`
			MaxTokens int  `json:"max_tokens"`
			Seed      int  `json:"seed"`
		}
		if err := json.Unmarshal(raw, &q); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if !q.Stream {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
			return
		}
		streamTo(r.Context(), w, q.MaxTokens, time.Duration(q.Seed)*time.Millisecond)
	})
}

func streamTo(ctx context.Context, w http.ResponseWriter, chunks int, every time.Duration) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	out := http.NewResponseController(w)
	pace := time.NewTicker(max(every, time.Nanosecond))
	defer pace.Stop()
	for i := range chunks {
		if i > 0 && every > 0 {
			select {
			case <-pace.C:
			case <-ctx.Done():
				return
			}
		}
		_, _ = io.WriteString(w, benchChunk)
		_ = out.Flush()
	}
	_, _ = io.WriteString(w, lastChunk)
}

// target is one way to the backend.
type target struct {
	name    string
	base    string
	bearers []string // of different people; empty: none is needed
}

// targets are the three ways.
func targets(b *testing.B) []target {
	b.Helper()
	m := benchModel(b)
	to, err := url.Parse(m.URL)
	if err != nil {
		b.Fatal(err)
	}
	rp := httputil.NewSingleHostReverseProxy(to)
	rp.FlushInterval = -1
	rp.Transport = &http.Transport{MaxIdleConnsPerHost: 1024}
	proxy := httptest.NewServer(rp)
	b.Cleanup(proxy.Close)
	in := install(b, m.pool(8192)+`
identity:
  jwt: [{name: idp, header: Authorization, algorithms: [HS256], secret: "`+benchSecret+`", issuer: idp}]
policy: [{limits: "1000000/second; 1000000000/hour", max_running: 0, max_queued: 0}]
classes: {standard: {weight: 3, max_queued: 1000000}}
`)
	in.ready()
	var tokens []string
	for i := range 10 {
		token, err := identity.Mint(benchSecret, identity.Token{Issuer: "idp", Subject: fmt.Sprint("person ", i), Lifetime: time.Hour}, time.Now())
		if err != nil {
			b.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	return []target{{"direct", m.URL, nil}, {"reverse_proxy", proxy.URL, nil}, {"fairlane", in.app.EdgeURL(), tokens}}
}

func (tg target) send(tb testing.TB, client *http.Client, body []byte) *http.Response {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, tg.base+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if n := len(tg.bearers); n > 0 {
		req.Header.Set("Authorization", "Bearer "+tg.bearers[rand.IntN(n)])
	}
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		out, _ := io.ReadAll(resp.Body)
		tb.Fatalf("%s: %d %s", tg.name, resp.StatusCode, out)
	}
	return resp
}

func pooled() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8192, DisableCompression: true}}
}

func wholeBody() []byte {
	return fmt.Appendf(nil, `{"model":"m","messages":[{"role":"user","content":%q}]}`, strings.Repeat("word ", 400))
}

func streamBody(chunks, everyMillis int) []byte {
	return fmt.Appendf(nil, `{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":%d,"seed":%d,"messages":[{"role":"user","content":"hi"}]}`, chunks, everyMillis)
}

func median(ds []time.Duration) time.Duration {
	slices.Sort(ds)
	return ds[len(ds)/2]
}

// interleaved times calls through all targets in turn, so that a noisy moment
// hits all of them, and reports each one's median.
func interleaved(b *testing.B, once func(tg target, c *http.Client) time.Duration) {
	b.Helper()
	ways := targets(b)
	clients := []*http.Client{pooled(), pooled(), pooled()}
	took := make([][]time.Duration, len(ways))
	for b.Loop() {
		for i, tg := range ways {
			took[i] = append(took[i], once(tg, clients[i]))
		}
	}
	direct := median(took[0])
	for i, tg := range ways {
		b.ReportMetric(float64(median(took[i]).Microseconds()), tg.name+"-µs")
	}
	b.ReportMetric(float64(median(took[2])-direct)/float64(median(took[1])-direct), "added-ratio")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAddedWhole is the added time of a chat of 2 KB that does not stream.
func BenchmarkAddedWhole(b *testing.B) {
	body := wholeBody()
	interleaved(b, func(tg target, c *http.Client) time.Duration {
		start := time.Now()
		resp := tg.send(b, c, body)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return time.Since(start)
	})
}

// BenchmarkAddedFirstToken is the added time to a stream's first chunk.
func BenchmarkAddedFirstToken(b *testing.B) {
	body := streamBody(3, 0)
	buf := make([]byte, 1)
	interleaved(b, func(tg target, c *http.Client) time.Duration {
		start := time.Now()
		resp := tg.send(b, c, body)
		_, _ = io.ReadFull(resp.Body, buf)
		took := time.Since(start)
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return took
	})
}

// BenchmarkThroughput has 64 clients that ask without a pause.
func BenchmarkThroughput(b *testing.B) {
	ways := targets(b)
	body := wholeBody()
	for _, tg := range ways {
		b.Run(tg.name, func(b *testing.B) {
			c := pooled()
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp := tg.send(b, c, body)
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPacedStreams holds 64 streams open, a chunk each 20 ms; what it reports
// is the CPU of a chunk, of client and backend together, and what each way adds
// to that. An op is 64 streams of 100 chunks.
func BenchmarkPacedStreams(b *testing.B) {
	const streams, chunks = 64, 100
	ways := targets(b)
	body := streamBody(chunks, 20)
	used := make([]time.Duration, len(ways))
	c := pooled()
	n := 0
	for b.Loop() {
		n++
		for i, tg := range ways {
			before := cpu()
			var wg sync.WaitGroup
			for range streams {
				wg.Go(func() {
					resp := tg.send(b, c, body)
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				})
			}
			wg.Wait()
			used[i] += cpu() - before
		}
	}
	perChunk := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n*streams*chunks) }
	b.ReportMetric(perChunk(used[0]), "direct-µs/chunk")
	b.ReportMetric(perChunk(used[1]-used[0]), "reverse_proxy-added-µs/chunk")
	b.ReportMetric(perChunk(used[2]-used[0]), "fairlane-added-µs/chunk")
	b.ReportMetric(float64(used[2]-used[0])/float64(used[1]-used[0]), "added-ratio")
	b.ReportMetric(0, "ns/op")
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// BenchmarkWaitingMemory lets requests wait in the queue and reports what one
// holds in the process beside its body, and what one holds that net/http alone
// keeps open. The clients are bare sockets, which hold nothing here.
func BenchmarkWaitingMemory(b *testing.B) {
	const already, waiting = 1000, 4000
	release := make(chan struct{})
	m := newModel(b, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-release
		whole(w, r)
	})
	var held atomic.Int64
	bare := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		held.Add(1)
		<-release
	}))
	b.Cleanup(bare.Close)
	in := install(b, m.pool(1)+`
policy: [{class: standard, limits: "1000000/second", max_running: 0, max_queued: 0}]
classes: {standard: {weight: 3, max_queued: 1000000}}
`)
	in.ready()
	defer close(release)
	depth := func(n int) {
		in.until("all wait", func() bool {
			return in.metric(`fairlane_queue_depth{class="standard",pool="main"}`) == strconv.Itoa(n-1)
		})
	}
	hold(b, in.app.EdgeURL(), already) // what is needed once is there now
	depth(already)
	before := heap()
	hold(b, in.app.EdgeURL(), waiting-already)
	depth(waiting)
	with := heap()
	b.ReportMetric(float64(with-before)/(waiting-already), "B/waiting")
	hold(b, bare.URL, waiting)
	in.until("all are held", func() bool { return held.Load() == waiting })
	b.ReportMetric(float64(heap()-with)/waiting, "net/http-B/waiting")
	b.ReportMetric(0, "ns/op")
}

// hold sends a chat over n sockets and reads no answer. They are the kernel's
// alone: a net.Conn of the client would be counted to the server.
func hold(b *testing.B, base string, n int) {
	b.Helper()
	to, err := netip.ParseAddrPort(strings.TrimPrefix(base, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	body := `{"messages":[{"role":"user","content":"hi"}],"max_tokens":20}`
	text := fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	fds := make([]int, n)
	b.Cleanup(func() {
		for _, fd := range fds {
			_ = syscall.Close(fd)
		}
	})
	for i := range fds {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			b.Fatal(err)
		}
		fds[i] = fd
		if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
			b.Fatal(err)
		}
		if _, err := syscall.Write(fd, text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpenStreams holds 5,000 streams open at one chunk a second, for as
// many seconds as there are chunks, and reports how much of a core that takes,
// client and backend included, and that every chunk came.
func BenchmarkOpenStreams(b *testing.B) {
	const streams, chunks = 5000, 10
	ways := targets(b)
	body := streamBody(chunks, 1000)
	for b.Loop() {
		c := pooled()
		before, start := cpu(), time.Now()
		var wg sync.WaitGroup
		var whole atomic.Int64
		for range streams {
			wg.Go(func() {
				resp := ways[2].send(b, c, body)
				n, _ := io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if n >= chunks*int64(len(benchChunk)) {
					whole.Add(1)
				}
			})
		}
		wg.Wait()
		b.ReportMetric(float64(whole.Load()), "whole-streams")
		b.ReportMetric((cpu()-before).Seconds()/time.Since(start).Seconds(), "cores")
	}
	b.ReportMetric(0, "ns/op")
}
