package broker

import (
	"sync/atomic"
	"testing"

	"fairlane/scheduler"
)

// sink counts frames and tells when all that a benchmark sent are there.
type sink struct {
	*fakeProxy
	got  atomic.Int64
	want int64
	all  chan struct{}
}

func (s *sink) Frame(*scheduler.Frame) error {
	if s.got.Add(1) == s.want {
		close(s.all)
	}
	return nil
}

func benchFrame() *scheduler.Frame {
	f := everyFrame()[2]
	f.Data = []byte(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" word"}}]}` + "\n\n")
	return f
}

func benchmarkFrames(b *testing.B, here, there *Bus) {
	b.Helper()
	s := &sink{want: int64(b.N) + 1, all: make(chan struct{})}
	stopLater(b)(there.ServeProxy("px", s))
	p, f := here.Proxy("px"), benchFrame()
	if err := p.Frame(f); err != nil { // the way is known from here on
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := p.Frame(f); err != nil {
			b.Fatal(err)
		}
	}
	take(b, s.all, "the last frame")
}

func BenchmarkFrame(b *testing.B) {
	b.Run("local", func(b *testing.B) {
		bus := openBroker(b, Config{Store: StoreMemory}).Bus()
		benchmarkFrames(b, bus, bus)
	})
	b.Run("remote", func(b *testing.B) {
		n := startServer(b)
		benchmarkFrames(b, openBroker(b, Config{URL: n.url()}).Bus(), openBroker(b, Config{URL: n.url()}).Bus())
	})
	b.Run("encode", func(b *testing.B) {
		f, buf := benchFrame(), make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if buf, err = appendFrame(buf[:0], f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		data, err := appendFrame(nil, benchFrame())
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decodeFrame(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchmarkPublish(b *testing.B, broker *Broker) {
	b.Helper()
	s := openStream(b, broker, StreamConfig{MaxMsgs: 1 << 40})
	b.ReportAllocs()
	for b.Loop() {
		e := entry(NewID(), NewID())
		if _, err := s.Publish(b.Context(), e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchmarkPublish(b, openBroker(b, Config{Store: StoreMemory})) })
	b.Run("file", func(b *testing.B) { benchmarkPublish(b, openBroker(b, Config{Dir: b.TempDir()})) })
	b.Run("external", func(b *testing.B) { benchmarkPublish(b, openBroker(b, Config{URL: startServer(b).url()})) })
}

// BenchmarkTell is a publish until the reader in this process knows of it.
func BenchmarkTell(b *testing.B) {
	s := openStream(b, openBroker(b, Config{Store: StoreMemory}), StreamConfig{MaxMsgs: 1 << 40})
	ch := follow(b, s, 1)
	expect(b, ch, "loaded")
	b.ReportAllocs()
	for b.Loop() {
		e := entry(NewID(), NewID())
		if _, err := s.Publish(b.Context(), e); err != nil {
			b.Fatal(err)
		}
		<-ch
	}
}

func BenchmarkGrant(b *testing.B) {
	run := func(b *testing.B, here, there *Bus) {
		b.Helper()
		w := newFakeWorker()
		stopLater(b)(there.ServeWorker("wk", []string{"small"}, w))
		g, answer := sampleGrant(1), make(chan error, 1)
		b.ReportAllocs()
		for b.Loop() {
			here.Worker("wk").Grant(g, func(err error) { answer <- err })
			if err := <-answer; err != nil {
				b.Fatal(err)
			}
			<-w.grants
		}
	}
	b.Run("local", func(b *testing.B) {
		bus := openBroker(b, Config{Store: StoreMemory}).Bus()
		run(b, bus, bus)
	})
	b.Run("remote", func(b *testing.B) {
		n := startServer(b)
		run(b, openBroker(b, Config{URL: n.url()}).Bus(), openBroker(b, Config{URL: n.url()}).Bus())
	})
}
