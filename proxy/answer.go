package proxy

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

// maxLate bounds what is kept of an error that comes after 200 was sent, bytes.
const maxLate = 64 << 10

// writeAgain is how often the deadline of writes is moved on: not with every
// chunk.
const writeAgain = time.Minute

// answer writes what the backend says. Its status is committed by the first
// byte, or by a comment of ours.
type answer struct {
	x     *exchange
	head  *scheduler.Head
	meter meter

	begun    bool // a byte of the backend's answer was there
	wrote    bool // something was written
	events   bool // what is written is a stream of events
	ragged   bool // the last byte that was written does not end an event
	late     []byte
	deadline time.Time // when the deadline of writes was last moved
}

// comment keeps a waiting stream alive, and commits it.
func (a *answer) comment() error { return a.ours([]byte(": keep-alive\n\n")) }

// ours writes an event of our own to a stream whose answer has not begun, and commits
// it. It is no part of the answer.
func (a *answer) ours(event []byte) error {
	a.commitEvents(http.StatusOK)
	return a.write(event, time.Now())
}

func (a *answer) commitEvents(status int) {
	if a.x.rec.status != 0 {
		return
	}
	a.events = true
	h := a.x.header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	a.commit(status)
}

func (a *answer) commit(status int) {
	a.deadline = time.Now()
	a.x.writeDeadline(a.deadline)
	a.x.writeHead(status)
}

// data writes a piece of the backend's answer.
func (a *answer) data(b []byte) error {
	if !a.headIsEvents() && (a.events || a.isError()) { // too late for its status, or to be looked at
		a.begun = true
		a.late = append(a.late, b[:min(len(b), maxLate-len(a.late))]...)
		return nil
	}
	a.begin()
	now := time.Now()
	if a.events {
		if n := openai.Contents(a.x.route.Endpoint, b); n > 0 {
			a.meter.content(&a.x.rec, n, now)
		}
	}
	return a.write(b, now)
}

// begin commits the backend's status, if none is yet.
func (a *answer) begin() {
	if a.begun {
		return
	}
	a.begun = true
	if a.x.rec.status != 0 || a.head == nil {
		return
	}
	fromBackend(a.x.header(), a.head.Header)
	if n := a.head.Header["Content-Length"]; len(n) > 0 && !a.headIsEvents() { // it passes as it is
		a.x.header()["Content-Length"] = n
	}
	if a.headIsEvents() {
		a.commitEvents(a.head.Status)
		return
	}
	a.commit(a.head.Status)
}

func (a *answer) headIsEvents() bool {
	return a.head != nil && strings.HasPrefix(a.head.Header.Get("Content-Type"), "text/event-stream")
}

// write writes and, in a stream, sends at once.
func (a *answer) write(b []byte, now time.Time) error {
	if now.Sub(a.deadline) > writeAgain {
		a.deadline = now
		a.x.writeDeadline(now)
	}
	a.wrote = true
	if _, err := a.x.w.Write(b); err != nil {
		return err
	}
	if !a.events {
		return nil
	}
	a.ragged = !bytes.HasSuffix(b, []byte("\n\n"))
	return a.x.rc.Flush()
}

// finish is the end of an answer that is whole.
func (a *answer) finish() error {
	if a.isError() && !a.events {
		return a.refusal()
	}
	a.begin()
	switch {
	case len(a.late) > 0:
		return a.event(openai.ErrorOf(a.x.route.Shape, a.head.Status, a.late))
	case a.events || !a.wrote:
		return nil
	default:
		return a.x.rc.Flush() // the client need not wait until all is noted
	}
}

func (a *answer) isError() bool { return a.head != nil && a.head.Status >= http.StatusBadRequest }

// refusal writes the backend's own error, unchanged if it has the shape of the API
// that was called; some have not.
func (a *answer) refusal() error {
	shape, status := a.x.route.Shape, a.head.Status
	fromBackend(a.x.header(), a.head.Header)
	if len(a.late) == maxLate || !openai.IsError(shape, a.late) {
		e := openai.ErrorOf(shape, status, a.late)
		if status == http.StatusNotFound && e.Message == "Not Found" { // of its router: there is no such path
			e = problemError(scheduler.Problemf(scheduler.CodeNotFound, "the model `%s` does not offer %s", a.x.rec.model, a.x.route.Endpoint), shape)
		}
		a.late = e.Body(shape)
		a.x.header().Set("Content-Type", "application/json")
	}
	a.x.header().Set("Content-Length", strconv.Itoa(len(a.late)))
	a.commit(status)
	return a.write(a.late, time.Now())
}

// fail ends a call with a problem. Once a stream is committed that is an event
// of it, and the problem is only noted; an answer of another kind is cut off,
// so that nobody takes it for whole.
func (a *answer) fail(p *scheduler.Problem) *scheduler.Problem {
	if a.x.rec.status == 0 {
		return p
	}
	a.x.rec.problem, a.x.rec.outcome = p, p.Code.Outcome()
	if !a.events {
		panic(http.ErrAbortHandler)
	}
	if err := a.event(problemError(a.x.s.worded(p), a.x.route.Shape)); err != nil {
		a.x.left()
	}
	return nil
}

func (a *answer) event(e *openai.Error) error {
	b := e.Event(a.x.route.Shape)
	if a.ragged { // what came before must not swallow it
		b = append([]byte("\n\n"), b...)
	}
	return a.write(b, time.Now())
}
