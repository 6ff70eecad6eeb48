package worker

import (
	"sync"
	"time"

	"fairlane/scheduler"
)

// frames numbers what goes to the proxy. Beats come from another goroutine.
type frames struct {
	a   *attempt
	mu  sync.Mutex
	seq uint32
}

// send hands a frame on. An error means that nobody waits for it there.
func (f *frames) send(fr *scheduler.Frame) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fr.ID, fr.Fence, fr.Worker, fr.Seq = f.a.grant.Entry.ID, f.a.grant.Fence, f.a.w.cfg.ID, f.seq
	f.seq++
	f.a.lastFrame.Store(time.Now().UnixNano())
	return f.a.proxy.Frame(fr)
}

func (f *frames) head(h *scheduler.Head) error {
	return f.send(&scheduler.Frame{Type: scheduler.FrameHead, Head: h})
}

// data splits what is too large for one message.
func (f *frames) data(b []byte) error {
	for len(b) > maxFrame {
		if err := f.send(&scheduler.Frame{Type: scheduler.FrameData, Data: b[:maxFrame:maxFrame]}); err != nil {
			return err
		}
		b = b[maxFrame:]
	}
	if len(b) == 0 {
		return nil
	}
	return f.send(&scheduler.Frame{Type: scheduler.FrameData, Data: b})
}

func (f *frames) end(e *scheduler.End) error {
	return f.send(&scheduler.Frame{Type: scheduler.FrameEnd, End: e})
}

func (f *frames) err(p *scheduler.Problem, e *scheduler.End) error {
	return f.send(&scheduler.Frame{Type: scheduler.FrameErr, Problem: p, End: e})
}

func (f *frames) beat() {
	if f.a.over.Load() {
		return
	}
	if err := f.send(&scheduler.Frame{Type: scheduler.FrameBeat}); err != nil {
		return // the proxy answers with a cancel of its own
	}
}
