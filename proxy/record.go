package proxy

import (
	"log/slog"
	"math"
	"net/http"
	"time"

	"fairlane/proxy/refusals"
	"fairlane/scheduler"
)

// none is what labels say before a pool, model or class is known.
const none = "none"

// record is what log and metrics say of a request.
type record struct {
	started, ended time.Time
	granted, first time.Time // zero: it never was

	requestID, method, path     string
	callID                      string // in the queue, and, with its attempt, at the backend; empty: it never got there
	userKey, userName, clientIP string
	email                       string
	class, pool, model, backend string
	size                        string
	sequences, attempts         int
	status                      int // what was sent; 0: nothing yet
	outcome                     scheduler.Outcome
	usage                       scheduler.Usage
	counted                     bool // usage is what it used
	guessed                     bool // its output is a guess of ours
	reserved                    int  // tokens of output that were taken from buckets
	cost                        float64
	problem                     *scheduler.Problem
}

// refused tells of somebody who is refused by limits and bounds of their own.
func (x *exchange) refused() {
	r := &x.rec
	if x.s.deps.Refusals == nil || r.outcome != scheduler.Refused || r.problem == nil || r.problem.Code.Status() != http.StatusTooManyRequests {
		return
	}
	x.s.deps.Refusals.Add(&refusals.Refused{
		UserKey: r.userKey, UserName: clip(r.userName), Email: clip(r.email), Reason: string(r.problem.Reason), Limit: r.problem.Limit, Last: r.ended,
	})
}

func millis(from, to time.Time) float64 {
	if from.IsZero() || to.IsZero() {
		return 0
	}
	return math.Round(to.Sub(from).Seconds()*1e5) / 1e2
}

// used is what the request used; nil: a backend may have had it, and nobody
// knows. What was never granted used nothing.
func (r *record) used() *scheduler.Usage {
	switch {
	case r.guessed:
		u := r.usage
		u.Output = max(u.Output, r.reserved)
		return &u
	case r.counted || r.granted.IsZero():
		return &r.usage
	default:
		return nil
	}
}

// log writes the one line of a request.
func (x *exchange) log() {
	r := &x.rec
	attrs := make([]slog.Attr, 0, 32)
	attrs = append(attrs,
		slog.String("request_id", r.requestID), slog.String("call_id", r.callID), slog.String("user_key", r.userKey), slog.String("user_name", r.userName),
		slog.String("class", r.class), slog.String("pool", r.pool), slog.String("model", r.model), slog.String("backend", r.backend),
		slog.String("path", r.path), slog.String("method", r.method), slog.String("client_ip", r.clientIP),
		slog.String("outcome", string(r.outcome)), slog.Int("status", r.status),
		slog.Float64("wait_ms", millis(r.started, r.granted)), slog.Float64("ttft_ms", millis(r.started, r.first)), slog.Float64("duration_ms", millis(r.started, r.ended)),
		slog.Int("input_tokens", r.usage.Input), slog.Int("cached_tokens", r.usage.Cached), slog.Int("output_tokens", r.usage.Output),
		slog.Int("sequences", r.sequences), slog.String("size", r.size), slog.Float64("cost", r.cost), slog.Int("attempts", r.attempts))
	if p := r.problem; p != nil {
		attrs = append(attrs, slog.String("code", string(p.Code)))
		if p.Reason != "" {
			attrs = append(attrs, slog.String("reason", string(p.Reason)), slog.String("limit", p.Limit), slog.Int("retry_after_s", seconds(p.RetryAfter)))
		}
	}
	x.s.deps.Logger.LogAttrs(x.r.Context(), slog.LevelInfo, "request", attrs...)
}

// seconds rounds up, as Retry-After has to.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
