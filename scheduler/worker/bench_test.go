package worker

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
)

// paced gives one event with every read, as a backend does.
type paced struct {
	event []byte
	left  int
}

func (p *paced) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	if p.left--; p.left == 0 {
		return copy(b, done), nil
	}
	return copy(b, p.event), nil
}

func (*paced) Close() error { return nil }

// sink takes frames and counts their bytes.
type sink struct {
	proxy
	bytes int
}

func (s *sink) Frame(f *scheduler.Frame) error {
	s.bytes += len(f.Data)
	return nil
}

type sinkBus struct{ sink *sink }

func (b sinkBus) Proxy(string) scheduler.Proxy         { return b.sink }
func (sinkBus) Dispatcher(string) scheduler.Dispatcher { return &leader{} }

// BenchmarkStreamEvent is one event of a stream from the backend's reader to the
// proxy; copied is the same way without a look at what passes, the least that
// handing it on can cost.
func BenchmarkStreamEvent(b *testing.B) {
	event := fmt.Appendf(nil, `data: {"id":"chatcmpl-3f1b2c","object":"chat.completion.chunk","created":1795741200,"model":"qwen2.5-7b","choices":[{"index":0,"delta":{"content":" %s"},"logprobs":null,"finish_reason":null,"token_ids":null}]}`+"\n\n", "token")
	for _, added := range []bool{false, true} {
		b.Run(fmt.Sprintf("filtered/added=%v", added), func(b *testing.B) {
			a, out := benchAttempt(b)
			resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: &paced{event: event, left: b.N + 1}}
			b.ReportAllocs()
			b.SetBytes(int64(len(event)))
			b.ResetTimer()
			ev := a.stream(resp, &scheduler.Handover{AddedUsage: added}, 0)
			if want := b.N*len(event) + len(done); ev.Outcome != scheduler.Completed || out.bytes != want {
				b.Fatalf("%d bytes came through, want %d; %+v", out.bytes, want, ev)
			}
		})
	}
	b.Run("copied", func(b *testing.B) {
		a, out := benchAttempt(b)
		body, buf := &paced{event: event, left: b.N + 1}, make([]byte, readSize)
		b.ReportAllocs()
		b.SetBytes(int64(len(event)))
		b.ResetTimer()
		for {
			n, err := body.Read(buf)
			if err != nil {
				break
			}
			if err := a.out.data(bytes.Clone(buf[:n])); err != nil {
				b.Fatal(err)
			}
		}
		if want := b.N*len(event) + len(done); out.bytes != want {
			b.Fatalf("%d bytes came through, want %d", out.bytes, want)
		}
	})
}

func benchAttempt(b *testing.B) (*attempt, *sink) {
	b.Helper()
	out := &sink{}
	w := New(Config{ID: "w1", Bus: sinkBus{out}, Pools: map[string]Pool{"main": {}}})
	backend, err := vllm.New(vllm.Config{URL: gpu})
	if err != nil {
		b.Fatal(err)
	}
	w.ctx = b.Context()
	g := &scheduler.Grant{Entry: scheduler.Entry{ID: "r1", Proxy: "px", Pool: "main", Endpoint: "chat", Stream: true}}
	return w.newAttempt(g, backend, newReporter(w, "main")), out
}
