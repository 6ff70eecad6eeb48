package vllmsim

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fairlane/scheduler/gpumodel"
)

// sink is a client that reads at once.
type sink struct{ header http.Header }

func (s sink) Header() http.Header         { return s.header }
func (s sink) WriteHeader(int)             {}
func (s sink) Write(p []byte) (int, error) { return len(p), nil }
func (s sink) Flush()                      {}

// BenchmarkEvent is what an event of a stream costs, without the socket.
func BenchmarkEvent(b *testing.B) {
	s, err := New(Config{Tools: true})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop()
	for name, rest := range map[string]string{"plain": "", "usage": `,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`} {
		b.Run(name, func(b *testing.B) {
			c, f := s.readChat(chatOf(`,"stream":true,"n":64,"ignore_eos":true` + rest).make(b.Context()))
			if f != nil {
				b.Fatal(f.message)
			}
			j := newJob(s.sequences(&c.prompt, &c.sampling, want{}), true)
			st := &chatStream{server: s, req: c, job: j, out: newSSE(sink{http.Header{}}), sent: make([]int, len(j.seqs))}
			st.head = chunkHead("chatcmpl-x", "chat.completion.chunk", c.model)
			news := make([]update, len(j.seqs))
			tokens := 0
			b.ReportAllocs()
			for b.Loop() {
				if tokens++; tokens == 20_000 {
					tokens = 1
					clear(st.sent)
				}
				for i := range news {
					news[i] = update{index: i, generated: tokens}
				}
				if err := st.write(news); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(news)), "ns/event")
		})
	}
}

// BenchmarkStep is what a step of the engine with 64 sequences costs the loop, with
// all that it notes and measures.
func BenchmarkStep(b *testing.B) {
	s, err := New(Config{MaxModelLen: 900_000, KVBlocks: 64 * 60_000})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Stop()
	l := s.loop
	fill := func() {
		for i := range 64 {
			p := newPrompt(appendTokens(nil, strconv.Itoa(i), 10), "", 16)
			if err := l.addAll(newJob([]sequence{{prompt: &p, output: 900_000, answer: answer{shown: -1}}}, true)); err != nil {
				b.Fatal(err)
			}
		}
	}
	fill()
	var buf []update
	b.ReportAllocs()
	for b.Loop() {
		l.step = l.engine.Step()
		l.deliver(time.Now())
		for _, p := range l.places {
			buf, _, _ = p.job.next(b.Context(), buf[:0])
		}
		if len(l.places) == 0 {
			fill()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*64), "ns/token")
}

// BenchmarkRequest is what a request costs beside its tokens.
func BenchmarkRequest(b *testing.B) {
	for _, words := range []int{10, 5000} {
		b.Run(fmt.Sprintf("words=%d", words), func(b *testing.B) {
			p := gpumodel.TinyCPU()
			s, err := New(Config{Profile: p.Name, Speed: 1e6})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Stop()
			rq := request{path: chatPath, body: `{"max_tokens":1,"messages":[{"role":"user","content":"` + strings.Repeat("word ", words) + `"}]}`}
			b.ReportAllocs()
			for b.Loop() {
				s.Handler().ServeHTTP(sink{http.Header{}}, rq.make(b.Context()))
			}
		})
	}
}

func cpuTime() time.Duration {
	var ru syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// BenchmarkServe64 is 64 streams over loopback at the speed of an H100, client
// included: what counts is the CPU time of a token.
func BenchmarkServe64(b *testing.B) {
	_, base := serve(b, Config{Speed: 1})
	const tokens = 200
	before := cpuTime()
	for b.Loop() {
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				rq := chatOf(fmt.Sprintf(`,"stream":true,"ignore_eos":true,"max_tokens":%d,"seed":%d`, tokens, i))
				res, err := rq.send(b.Context(), base)
				if err != nil {
					b.Error(err)
					return
				}
				defer res.Body.Close()
				_, _ = io.Copy(io.Discard, res.Body)
			})
		}
		all.Wait()
	}
	n := float64(b.N * 64 * tokens)
	b.ReportMetric(float64((cpuTime()-before).Microseconds())/n, "cpu-µs/token")
	b.ReportMetric(n/b.Elapsed().Seconds(), "tokens/s")
}
