package worker

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

const (
	maxErrors = 64 << 10 // bytes of an error of the backend that are looked at
	maxReason = 200      // characters of it that the client is told
)

// serverError tells vLLM's "my own queue is full" from a failure, and a failed
// request from a dead engine. A 503 of a backend that is not well is as good as
// no connection: it did not take the request.
func (a *attempt) serverError(resp *http.Response) scheduler.Event {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrors))
	switch {
	case err != nil:
		return a.broken(err)
	case bytes.Contains(body, []byte("EngineCore")), bytes.Contains(body, []byte("EngineDeadError")):
		a.look()
		return a.faulted(true, a.failure("its engine died"))
	case resp.StatusCode != http.StatusServiceUnavailable:
		ev := a.faulted(false, a.failure(fmt.Sprintf("it answered %d%s", resp.StatusCode, a.reason(resp.StatusCode, body))))
		ev.Answered = isObject(body)
		return ev
	case a.look().Up:
		return scheduler.Event{Kind: scheduler.EventBusy}
	default:
		return a.refused(a.failure("it answered 503"))
	}
}

// isObject tells a backend's own error from the page of somebody between. Of a
// long one the end was not read.
func isObject(body []byte) bool {
	trimmed := bytes.TrimSpace(body)
	return enclosed(trimmed, '{', '}') || len(body) == maxErrors && bytes.HasPrefix(trimmed, []byte("{"))
}

// reason is what the backend says of its error, in one line without its address.
func (a *attempt) reason(status int, body []byte) string {
	if !isObject(body) || !openai.IsError(openai.ShapeOpenAI, body) {
		return ""
	}
	said := openai.ErrorOf(openai.ShapeOpenAI, status, body).Message
	said = strings.ReplaceAll(strings.Join(strings.Fields(said), " "), a.backend.Host(), "the model server")
	if r := []rune(said); len(r) > maxReason {
		said = string(r[:maxReason-1]) + "…"
	}
	return ": " + said
}

// note keeps for the log what the client is not told: where an attempt failed. What
// the backend said of it may be of the prompt, so it is left out.
func (a *attempt) note(ev *scheduler.Event) {
	if ev.Kind != scheduler.EventFault {
		return
	}
	a.w.cfg.Logger.Debug("an attempt failed", slog.String("pool", a.grant.Entry.Pool), slog.String("call_id", ev.ID),
		slog.String("backend", ev.Backend), slog.Int("attempt", a.grant.Try),
		slog.String("code", string(ev.Problem.Code)), slog.Bool("answered", ev.Answered))
}
