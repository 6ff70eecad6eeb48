package worker

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

// stream hands an SSE answer on, event by event as it comes.
func (a *attempt) stream(resp *http.Response, h *scheduler.Handover, t Timeouts) scheduler.Event {
	s := &stream{a: a, resp: resp, filter: openai.NewStreamFilter(openai.FilterOptions{
		Endpoint: openai.Endpoint(a.grant.Entry.Endpoint), DropUsage: h.AddedUsage,
	})}
	if t.Idle > 0 {
		s.idle = time.AfterFunc(t.Idle, func() { a.cancel(errIdle) })
		defer s.idle.Stop()
		s.patience = t.Idle
	}
	return s.run()
}

type stream struct {
	a        *attempt
	resp     *http.Response
	filter   *openai.StreamFilter
	idle     *time.Timer
	patience time.Duration
	headSent bool
	content  bool
}

func (s *stream) run() scheduler.Event {
	buf := s.a.w.buffers.get()
	defer s.a.w.buffers.put(buf)
	for {
		n, err := s.resp.Body.Read(*buf)
		if n > 0 {
			if sendErr := s.piece((*buf)[:n]); sendErr != nil {
				return s.a.brokenOff(sendErr, s.usage())
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return s.end()
		case err != nil && !s.headSent:
			return s.a.broken(err)
		case err != nil:
			return s.a.brokenOff(err, s.usage())
		}
	}
}

// piece filters what was read and hands it on.
func (s *stream) piece(b []byte) error {
	if s.idle != nil {
		s.idle.Reset(s.patience)
	}
	out := s.filter.Feed(b, make([]byte, 0, len(b)))
	s.a.generated.Store(int64(s.filter.Generated()))
	if !s.content && s.filter.ContentEvents() > 0 {
		s.content = true
		s.a.firstContent()
	}
	if len(out) == 0 {
		return nil
	}
	return s.send(out)
}

func (s *stream) send(out []byte) error {
	if !s.headSent {
		s.headSent = true
		s.a.firstByte.Store(true)
		if err := s.a.out.head(s.a.head(s.resp)); err != nil {
			return err
		}
	}
	return s.a.out.data(out)
}

// end is reached when the backend closed the stream in order. It says nothing
// about whether the answer is complete: the filter knows.
func (s *stream) end() scheduler.Event {
	if out := s.filter.Flush(nil); len(out) > 0 {
		if err := s.send(out); err != nil {
			return s.a.brokenOff(err, s.usage())
		}
	}
	switch {
	case s.filter.Failed():
		s.a.look()
		ev := s.a.finish(s.usage(), scheduler.Failed)
		ev.Died = !s.a.backend.Status().Up
		return ev
	case s.filter.Finished():
		return s.a.finish(s.usage(), scheduler.Completed)
	case !s.headSent:
		return s.a.broken(io.ErrUnexpectedEOF)
	default:
		return s.a.brokenOff(io.ErrUnexpectedEOF, s.usage())
	}
}

// usage is the backend's word, else what was counted.
func (s *stream) usage() scheduler.Usage {
	u, known := s.filter.Usage()
	out := fromOpenAI(u, known)
	if !known {
		out.Input, out.Output = s.a.grant.Entry.InputTokens, s.filter.Generated()
	}
	return out
}

// buffers are shared by the streams of a worker: a stream holds one only while
// it runs.
type buffers struct{ pool sync.Pool }

func newBuffers() *buffers {
	return &buffers{pool: sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}}
}

func (b *buffers) get() *[]byte {
	buf, ok := b.pool.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, readSize)
		return &fresh
	}
	return buf
}

func (b *buffers) put(buf *[]byte) { b.pool.Put(buf) }
