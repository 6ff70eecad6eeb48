package proxy

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// exchange is one request and its answer. It belongs to the goroutine that
// serves the connection.
type exchange struct {
	s     *Server
	w     http.ResponseWriter
	r     *http.Request
	rc    *http.ResponseController
	route openai.Route
	rec   record

	patience time.Duration // that the client has; 0: it did not say
	teller   *teller       // nil: its client shows nothing of the queue

	held     int64 // bytes of the body, in the server's budget
	id       *identity.Identity
	req      *openai.Request
	at       place // of the model
	decision *policy.Decision
	settle   func(*scheduler.Usage) // what was taken from buckets; nil: no tokens were
	opened   *half                  // the receipt of what is in the queue; nil: nobody keeps receipts
	place    string                 // in the queue, when it came, as its header tells it; empty: not known
}

// statusLeft is what logs say of a client that left; nothing is sent.
const statusLeft = 499

// begin notes that the request is there.
func (s *Server) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{s: s, w: w, r: r, rc: http.NewResponseController(w)}
	x.rec = record{started: time.Now(), requestID: requestID(r.Header.Get("X-Request-Id")), method: clip(r.Method), path: clip(r.URL.Path), pool: none, model: none, class: none}
	x.rec.clientIP, _, _ = net.SplitHostPort(r.RemoteAddr) // empty will do
	x.writeDeadline(x.rec.started)
	if r.ContentLength != 0 {
		// Also for a body that nobody reads: net/http reads what is left of it, and
		// would wait for ever.
		_ = x.rc.SetReadDeadline(x.rec.started.Add(s.cfg.ReadBody))
	}
	h := w.Header()
	h.Set("X-Request-Id", x.rec.requestID)
	s.cors.allow(h, r)
	return x
}

// writeDeadline gives a client that reads nothing a limit. Not every writer has
// one, and those do without.
func (x *exchange) writeDeadline(now time.Time) {
	_ = x.rc.SetWriteDeadline(now.Add(writeWait))
}

func (x *exchange) header() http.Header { return x.w.Header() }

// requestID is the client's if it is fit to be echoed and logged.
func requestID(id string) string {
	const longest = 128
	if id == "" || len(id) > longest {
		return rand.Text()
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			return rand.Text()
		}
	}
	return id
}

// serve is the way of a request; a problem ends it early.
func (x *exchange) serve() *scheduler.Problem {
	route, ok := openai.Match(x.r.URL.Path)
	if !ok {
		return scheduler.Problemf(scheduler.CodeNotFound, "there is nothing at %s %s", clip(x.r.Method), clip(x.r.URL.Path))
	}
	x.route = route
	if !x.methodFits() {
		allow := allowed(route.Method)
		x.header().Set("Allow", allow)
		return scheduler.Problemf(scheduler.CodeMethodNotAllowed, "%s works with %s", clip(x.r.URL.Path), allow)
	}
	if x.r.Method == http.MethodOptions {
		x.header().Set("Allow", allowed(route.Method))
		x.respond(http.StatusNoContent, nil)
		x.rec.outcome = scheduler.Completed
		return nil
	}
	if p := x.identify(); p != nil {
		return p
	}
	if !route.Queued {
		return x.direct()
	}
	return x.queue()
}

func (x *exchange) methodFits() bool {
	m := x.r.Method
	return m == x.route.Method || m == http.MethodOptions || m == http.MethodHead && x.route.Method == http.MethodGet
}

func allowed(method string) string {
	if method == http.MethodGet {
		return "GET, HEAD, OPTIONS"
	}
	return method + ", OPTIONS"
}

func (x *exchange) identify() *scheduler.Problem {
	id, p := x.s.deps.Identifier.Identify(x.r)
	if id != nil {
		x.id = id
		x.rec.userKey, x.rec.userName, x.rec.email, x.rec.clientIP = id.UserKey, id.Name, id.Email, id.IP
	}
	if p != nil && p.Code == scheduler.CodeInvalidAPIKey {
		x.header().Set("WWW-Authenticate", "Bearer")
		x.s.metrics.authFailed(p)
	}
	return p
}

// writeHead commits the status. The place goes into the headers only now: nobody
// needs it there while the request waits, and it is the one for which their map
// would have to grow.
func (x *exchange) writeHead(status int) {
	if x.place != "" {
		x.header().Set("X-Fairlane-Queue-Position", x.place)
	}
	x.rec.status = status
	x.w.WriteHeader(status)
}

// respond writes a whole answer.
func (x *exchange) respond(status int, body []byte) {
	x.writeDeadline(time.Now())
	x.writeHead(status)
	if x.r.Method == http.MethodHead {
		return
	}
	if _, err := x.w.Write(body); err != nil { //nolint:gosec // JSON, said to be so
		x.s.deps.Logger.Debug("the answer did not reach the client", slog.String("request_id", x.rec.requestID), slog.Any("error", err))
	}
}

// fail ends the request with a problem: as an answer, or, if the answer has
// begun, as an event of its stream.
func (x *exchange) fail(p *scheduler.Problem) {
	// A read that timed out has ended the context too, and the client is there.
	if x.alone() && p.Code != scheduler.CodeRequestTimeout {
		x.left()
		return
	}
	x.rec.problem = p
	x.rec.outcome = p.Code.Outcome()
	if x.rec.status != 0 { // the stream has written it
		return
	}
	h := x.header()
	problemHeaders(h, p)
	h.Set("Content-Type", "application/json")
	x.respond(p.Code.Status(), problemError(x.s.worded(p), x.route.Shape).Body(x.route.Shape))
}

// alone reports whether the client has left, as opposed to us.
func (x *exchange) alone() bool {
	ctx := x.r.Context()
	return ctx.Err() != nil && !errors.Is(context.Cause(ctx), errDraining)
}

// left ends the request of a client that is not there any more.
func (x *exchange) left() {
	x.rec.outcome, x.rec.status = scheduler.Cancelled, statusLeft
}

// end is the one end of every request.
func (x *exchange) end() {
	reason := recover()
	if reason != nil && reason != http.ErrAbortHandler { //nolint:errorlint // what a handler panics with is this value
		x.s.deps.Logger.Error("a request panicked", slog.String("request_id", x.rec.requestID), slog.Any("panic", reason), slog.String("stack", string(debug.Stack())))
		x.fail(scheduler.Problemf(scheduler.CodeInternal, "something went wrong inside fairlane; its log has the request id %s", x.rec.requestID))
	}
	if x.rec.outcome == "" {
		x.rec.outcome = scheduler.Failed
	}
	if x.settle != nil {
		x.settle(x.rec.used())
	}
	x.s.held.release(x.held)
	x.rec.ended = time.Now()
	x.s.metrics.ended(&x.rec)
	x.refused()
	x.receive()
	x.log()
	if reason == http.ErrAbortHandler { //nolint:errorlint // as above
		panic(reason)
	}
}
