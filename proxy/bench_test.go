package proxy

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"fairlane/scheduler"
)

const benchChunk = `data: {"id":"chatcmpl-5f0d7a3b1c","object":"chat.completion.chunk","created":1763990000,"model":"qwen2.5-7b","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}` + "\n\n"

// stock is a call with chunks in stock.
type stock struct {
	chunks int
	begun  bool
}

func (c *stock) Next(context.Context) (scheduler.CallEvent, error) {
	switch {
	case !c.begun:
		c.begun = true
		return head(200, sse), nil
	case c.chunks > 0:
		c.chunks--
		return scheduler.CallEvent{Kind: scheduler.CallData, Data: []byte(benchChunk)}, nil
	default:
		return end(scheduler.Completed), nil
	}
}

func (c *stock) Cancel() {}

// stockBody is the same for a reverse proxy: a chunk with each read.
type stockBody struct{ chunks int }

func (b *stockBody) Read(p []byte) (int, error) {
	if b.chunks == 0 {
		return 0, io.EOF
	}
	b.chunks--
	return copy(p, benchChunk), nil
}

func (b *stockBody) Close() error { return nil }

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// reverseProxy is the yardstick, in front of a backend that costs nothing.
func reverseProxy(chunks int) http.Handler {
	target, _ := url.Parse("http://backend")
	p := httputil.NewSingleHostReverseProxy(target)
	p.FlushInterval = -1
	p.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {sse}}, Body: &stockBody{chunks}, ContentLength: -1, Request: r}, nil
	})
	return p
}

// sink is where the log goes, after it was written as it would be.
type sink struct{}

func (sink) Write(b []byte) (int, error) { return len(b), nil }

func edge(b *testing.B, chunks int) http.Handler {
	b.Helper()
	f := newFakes()
	f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) {
		return &stock{chunks: chunks}, nil
	}
	s := f.server(b, Config{QueueStatus: QueueStatus{Heartbeat: 10 * time.Second}})
	s.deps.Logger = slog.New(slog.NewJSONHandler(sink{}, nil))
	return s.Handler()
}

// BenchmarkStreams reads streams of 1,000 events over loopback; an op is one
// event, behind the edge and behind httputil.ReverseProxy.
func BenchmarkStreams(b *testing.B) {
	const chunks = 1000
	for name, h := range map[string]http.Handler{"edge": edge(b, chunks), "reverse_proxy": reverseProxy(chunks)} {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(h)
			defer server.Close()
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += chunks {
				if n := fetch(b, server, streamBody); n < chunks*len(benchChunk) {
					b.Fatalf("%d bytes", n)
				}
			}
		})
	}
}

// BenchmarkRequests asks for answers of 2 KB with a body of 2 KB, one by one.
func BenchmarkRequests(b *testing.B) {
	const chunks = 10
	body := strings.Replace(chatBody, "hi", strings.Repeat("word ", 400), 1)
	for name, h := range map[string]http.Handler{"edge": edge(b, chunks), "reverse_proxy": reverseProxy(chunks)} {
		b.Run(name, func(b *testing.B) {
			server := httptest.NewServer(h)
			defer server.Close()
			b.ReportAllocs()
			for b.Loop() {
				fetch(b, server, body)
			}
		})
	}
}

func fetch(b *testing.B, server *httptest.Server, body string) int {
	b.Helper()
	resp, err := server.Client().Post(server.URL+chatPath, "application/json", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode != 200 {
		b.Fatalf("%d %v", resp.StatusCode, err)
	}
	return int(n)
}
