package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"fairlane/scheduler"
)

// errFrameLost marks a frame that did not leave.
var errFrameLost = errors.New("a frame could not be sent")

// frames numbers what goes to the proxy. Beats come from another goroutine, and
// have the number of the frame that follows: no answer breaks because one is lost.
// What could not be sent leaves no gap either.
type frames struct {
	a   *attempt
	mu  sync.Mutex
	seq uint32
	end bool // the last frame was sent
}

// send hands a frame on. It fails with scheduler.ErrUnknownCall if nobody waits
// for it there, else with errFrameLost.
func (f *frames) send(fr *scheduler.Frame) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.end {
		return nil // a beat that comes too late
	}
	fr.ID, fr.Fence, fr.Worker, fr.Seq = f.a.grant.Entry.ID, f.a.grant.Fence, f.a.w.cfg.ID, f.seq
	f.end = fr.Type == scheduler.FrameEnd || fr.Type == scheduler.FrameErr
	f.a.lastFrame.Store(time.Now().UnixNano())
	err := f.a.proxy.Frame(fr)
	if err == nil && fr.Type != scheduler.FrameBeat {
		f.seq++
	}
	if err != nil && !errors.Is(err, scheduler.ErrUnknownCall) {
		return fmt.Errorf("%w: %w", errFrameLost, err)
	}
	return err
}

// head begins the answer: from here on there is no other attempt.
func (f *frames) head(h *scheduler.Head) error {
	err := f.send(&scheduler.Frame{Type: scheduler.FrameHead, Head: h})
	if err == nil {
		f.a.begun.Store(true)
	}
	return err
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

// last ends the answer.
func (f *frames) last(fr *scheduler.Frame) {
	if err := f.send(fr); err != nil {
		f.a.w.cfg.Logger.Debug("nobody waited for the end of an answer", slog.String("id", fr.ID), slog.Any("error", err))
	}
}

// beat tells the proxy that nothing is new. If nobody knows the call there, the
// proxy answers with a cancel of its own.
func (f *frames) beat() {
	if err := f.send(&scheduler.Frame{Type: scheduler.FrameBeat}); err != nil {
		f.a.w.cfg.Logger.Debug("a beat was not heard", slog.String("id", f.a.grant.Entry.ID), slog.Any("error", err))
	}
}
