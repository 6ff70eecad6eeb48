package proxy

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"fairlane/scheduler"
)

const (
	firstRead = 16 << 10 // bytes for a body of unknown length
	trustRead = 1 << 20  // bytes that are reserved at once for a body of known length
	trustMore = 4        // as many times what has come is reserved then
	spare     = 128      // bytes behind a body, so that what is added to it needs no copy
)

// budget bounds bytes over all requests.
type budget struct {
	limit atomic.Int64
	held  atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.held.Add(n) > b.limit.Load() {
		b.held.Add(-n)
		return false
	}
	return true
}

func (b *budget) release(n int64) { b.held.Add(-n) }

// readBody reads the body whole, within bounds of size, time and memory.
func (x *exchange) readBody() ([]byte, *scheduler.Problem) {
	length := x.r.ContentLength
	if length > x.s.cfg.MaxBody {
		return nil, x.tooLarge()
	}
	if v := x.r.Header.Get("Content-Encoding"); v != "" && v != "identity" {
		return nil, scheduler.Problemf(scheduler.CodeInvalidRequest, "the body is compressed (%s); please send it as it is", clip(v))
	}
	size := int64(firstRead)
	if length >= 0 {
		size = min(length, trustRead)
	}
	body, p := x.readInto(size)
	if p != nil {
		x.header().Set("Connection", "close")
		return nil, p
	}
	_ = x.rc.SetReadDeadline(time.Time{}) // from here on the client may wait
	return body, nil
}

func (x *exchange) readInto(size int64) ([]byte, *scheduler.Problem) {
	buf, p := x.grow(nil, size)
	for p == nil {
		n, err := x.r.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > x.s.cfg.MaxBody:
			return nil, x.tooLarge()
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, x.broken(err)
		}
		if len(buf) == cap(buf) {
			buf, p = x.grow(buf, room(int64(len(buf)), x.r.ContentLength))
		}
	}
	return nil, p
}

// room is for how many bytes there is to be room when so many came: never for more
// than there will be, if that is known, so that a long body is copied seldom.
func room(came, length int64) int64 {
	if length < 0 {
		return 2 * came
	}
	return min(trustMore*came, length)
}

// grow makes room for size bytes, of which memory has to be there.
func (x *exchange) grow(buf []byte, size int64) ([]byte, *scheduler.Problem) {
	size = min(size, x.s.cfg.MaxBody)
	if more := size - x.held; more > 0 {
		if !x.s.held.take(more) {
			return nil, scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonMemory, retryMemory,
				"too much is waiting here at the moment; please try again in a few seconds")
		}
		x.held += more
	}
	return append(make([]byte, 0, size+spare), buf...), nil
}

func (x *exchange) tooLarge() *scheduler.Problem {
	x.header().Set("Connection", "close")
	return scheduler.Problemf(scheduler.CodeBodyTooLarge, "the body is larger than the %d bytes that are allowed", x.s.cfg.MaxBody)
}

func (x *exchange) broken(err error) *scheduler.Problem {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return scheduler.Problemf(scheduler.CodeRequestTimeout, "the body did not arrive within %s", scheduler.Words(x.s.cfg.ReadBody))
	}
	return scheduler.Problemf(scheduler.CodeInvalidRequest, "the body could not be read to its end")
}
