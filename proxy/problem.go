package proxy

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

// How long a client should wait where nobody knows better.
const (
	retryLearning = 5 * time.Second
	retryMemory   = 5 * time.Second
	retryShutdown = 5 * time.Second
)

// problemError is the problem in the words of an API.
func problemError(p *scheduler.Problem, s openai.Shape) *openai.Error {
	return &openai.Error{Message: p.Message, Type: openai.ErrorType(s, p.Code.Status()), Param: p.Param, Code: string(p.Code)}
}

// longRetry is a wait that the openai clients do not keep: told to wait longer
// they come back at once.
const longRetry = time.Minute

// problemHeaders say when to come again. 429 and 503 always do.
func problemHeaders(h http.Header, p *scheduler.Problem) {
	status := p.Code.Status()
	if p.RetryAfter > 0 || status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.Itoa(max(1, seconds(p.RetryAfter))))
	}
	if p.NoRetry || p.RetryAfter > longRetry || p.Code == scheduler.CodeQueueTimeout || p.Code == scheduler.CodeBackendCrashed {
		h.Set("X-Should-Retry", "false")
	}
}

// scanProblem is what is wrong with a body.
func scanProblem(err error) *scheduler.Problem {
	p := &scheduler.Problem{Code: scheduler.CodeInvalidRequest, Message: err.Error()}
	if e, ok := errors.AsType[*openai.Error](err); ok {
		p.Param = e.Param
	}
	return p
}

// asProblem is what an error of the queue means to a client.
func asProblem(err error) *scheduler.Problem {
	if p, ok := errors.AsType[*scheduler.Problem](err); ok {
		return p
	}
	return scheduler.Problemf(scheduler.CodeInternal, "the request could not be queued; please try again")
}

func shuttingDown() *scheduler.Problem {
	return scheduler.Refusal(scheduler.CodeShuttingDown, scheduler.ReasonShuttingDown, retryShutdown, "fairlane is restarting; please try again in a few seconds")
}
