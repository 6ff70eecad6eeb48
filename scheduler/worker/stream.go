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

// linger is how long the end of a connection may come after the end of the
// answer. Some servers leave it open.
const linger = time.Second

// stream hands an SSE answer on, event by event as it comes.
func (a *attempt) stream(resp *http.Response, h *scheduler.Handover, idle time.Duration) scheduler.Event {
	s := &stream{a: a, resp: resp, patience: idle, filter: openai.NewStreamFilter(openai.FilterOptions{
		Endpoint: openai.Endpoint(a.grant.Entry.Endpoint), DropUsage: h.AddedUsage,
	})}
	defer s.calm()
	return s.run()
}

type stream struct {
	a        *attempt
	resp     *http.Response
	filter   *openai.StreamFilter
	idle     *time.Timer // nil: no piece came yet, or there is no bound
	patience time.Duration
	content  bool
	complete bool
}

func (s *stream) run() scheduler.Event {
	buf := s.a.w.buffers.get()
	defer s.a.w.buffers.put(buf)
	for {
		n, err := s.resp.Body.Read(*buf)
		if n > 0 {
			if sendErr := s.piece((*buf)[:n]); sendErr != nil {
				return s.a.fails(sendErr, s.usage())
			}
		}
		switch {
		case errors.Is(err, io.EOF), err != nil && (s.filter.Finished() || s.filter.Failed()):
			return s.end() // how the connection ends does not matter any more
		case err != nil:
			return s.a.fails(err, s.usage())
		}
	}
}

// piece filters what was read and hands it on.
func (s *stream) piece(b []byte) error {
	out := s.filter.Feed(b, make([]byte, 0, len(b)))
	s.heard()
	s.a.generated.Store(int64(s.filter.Generated()))
	if len(out) > 0 {
		if err := s.send(out); err != nil {
			return err
		}
	}
	if !s.content && s.filter.ContentEvents() > 0 { // the client comes first
		s.content = true
		s.a.firstContent()
	}
	return nil
}

// heard moves the bound on silence on.
func (s *stream) heard() {
	switch {
	case s.complete:
	case s.filter.Finished():
		s.complete = true
		s.wait(linger)
	case s.patience > 0:
		s.wait(s.patience)
	case s.a.first != nil:
		s.a.first.Stop()
	}
}

func (s *stream) wait(d time.Duration) {
	if s.a.first != nil {
		s.a.first.Stop()
	}
	if s.idle == nil {
		s.idle = time.AfterFunc(d, func() { s.a.cancel(errIdle) })
		return
	}
	s.idle.Reset(d)
}

func (s *stream) calm() {
	if s.idle != nil {
		s.idle.Stop()
	}
}

func (s *stream) send(out []byte) error {
	if !s.a.begun.Load() {
		if err := s.a.out.head(s.a.head(s.resp)); err != nil {
			return err
		}
	}
	return s.a.out.data(out)
}

// end is reached when the backend has nothing more to say. Whether the answer is
// complete, the filter knows.
func (s *stream) end() scheduler.Event {
	if out := s.filter.Flush(nil); len(out) > 0 {
		if err := s.send(out); err != nil {
			return s.a.fails(err, s.usage())
		}
	}
	switch {
	case s.filter.Failed():
		ev := s.a.finish(s.usage(), scheduler.Failed)
		ev.Died = !s.a.look().Up
		ev.Answered = !ev.Died
		return ev
	case s.filter.Finished():
		return s.a.finish(s.usage(), scheduler.Completed)
	default:
		return s.a.fails(io.ErrUnexpectedEOF, s.usage())
	}
}

// usage is the backend's word, else what was counted.
func (s *stream) usage() scheduler.Usage {
	u, known := s.filter.Usage()
	return s.a.usage(u, known, s.filter.Generated())
}

// buffers are shared by the answers of a worker: one holds a buffer only while
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

// readAll is io.ReadAll, but for the most common answers, which are short and of
// unknown length, with one allocation.
func (b *buffers) readAll(r io.Reader) ([]byte, error) {
	buf := b.get()
	defer b.put(buf)
	var all []byte
	for {
		n, err := r.Read(*buf)
		all = append(all, (*buf)[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return all, err
		}
	}
}
