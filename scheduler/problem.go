package scheduler

import (
	"fmt"
	"net/http"
	"time"
)

// Code is the `error.code` a client sees.
type Code string

// The codes of errors that are ours. See Code.Status and Code.Outcome.
const (
	CodeInvalidRequest   Code = "invalid_request"
	CodeRequestTooLarge  Code = "request_too_large"
	CodeInvalidAPIKey    Code = "invalid_api_key"
	CodePermissionDenied Code = "permission_denied"
	CodeNotFound         Code = "not_found"
	CodeModelNotFound    Code = "model_not_found"
	CodeMethodNotAllowed Code = "method_not_allowed"
	CodeRequestTimeout   Code = "request_timeout"
	CodeBodyTooLarge     Code = "body_too_large"
	CodeRateLimit        Code = "rate_limit_exceeded"
	CodeQueueLimit       Code = "queue_limit_exceeded"
	CodeOverloaded       Code = "overloaded"
	CodeNoBackend        Code = "no_backend"
	CodeShuttingDown     Code = "shutting_down"
	CodeQueueTimeout     Code = "queue_timeout"
	CodeBackendFailed    Code = "backend_failed"
	CodeBackendTimeout   Code = "backend_timeout"
	CodeBackendCrashed   Code = "backend_crashed"
	CodeAnswerLost       Code = "answer_lost" // the worker died after the first byte
	CodeInternal         Code = "internal_error"
)

type codeFacts struct {
	status  int
	outcome Outcome
}

func (c Code) facts() codeFacts {
	switch c {
	case CodeInvalidRequest, CodeRequestTooLarge:
		return codeFacts{http.StatusBadRequest, Invalid}
	case CodeInvalidAPIKey:
		return codeFacts{http.StatusUnauthorized, Invalid}
	case CodePermissionDenied:
		return codeFacts{http.StatusForbidden, Invalid}
	case CodeNotFound, CodeModelNotFound:
		return codeFacts{http.StatusNotFound, Invalid}
	case CodeMethodNotAllowed:
		return codeFacts{http.StatusMethodNotAllowed, Invalid}
	case CodeRequestTimeout:
		return codeFacts{http.StatusRequestTimeout, Invalid}
	case CodeBodyTooLarge:
		return codeFacts{http.StatusRequestEntityTooLarge, Invalid}
	case CodeRateLimit, CodeQueueLimit:
		return codeFacts{http.StatusTooManyRequests, Refused}
	case CodeOverloaded, CodeNoBackend, CodeShuttingDown:
		return codeFacts{http.StatusServiceUnavailable, Refused}
	case CodeQueueTimeout:
		return codeFacts{http.StatusGatewayTimeout, Expired}
	case CodeBackendFailed, CodeBackendCrashed:
		return codeFacts{http.StatusBadGateway, Failed}
	case CodeBackendTimeout:
		return codeFacts{http.StatusGatewayTimeout, Failed}
	case CodeAnswerLost:
		return codeFacts{http.StatusBadGateway, Lost}
	default:
		return codeFacts{http.StatusInternalServerError, Failed}
	}
}

// Status is the HTTP status of the code.
func (c Code) Status() int { return c.facts().status }

// Outcome is how a request that meets the code has ended.
func (c Code) Outcome() Outcome { return c.facts().outcome }

// Problem is an error that a client is told: what happened, where, and what to
// do about it. It is the only form in which an end of ours reaches the edge,
// which renders it in the shape of the API that was called.
type Problem struct {
	Code       Code          `json:"code"`
	Message    string        `json:"message"`
	Param      string        `json:"param,omitempty"`  // the field of the request that is wrong
	Reason     Reason        `json:"reason,omitempty"` // of a refusal
	Limit      string        `json:"limit,omitempty"`  // the limit that refused, as the admin wrote it
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	NoRetry    bool          `json:"no_retry,omitempty"` // x-should-retry: false
}

// Error makes a Problem an error.
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Message }

// Problemf makes a Problem of a code and a message.
func Problemf(code Code, format string, args ...any) *Problem {
	return &Problem{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Refusal makes a Problem of a bound that was met, to be tried again after d.
func Refusal(code Code, reason Reason, d time.Duration, message string) *Problem {
	return &Problem{Code: code, Reason: reason, RetryAfter: d, Message: message}
}

// Overdue makes a Problem of a request that waited for so long, and in vain. To try
// again at once would be in vain, too.
func Overdue(waited time.Duration) *Problem {
	p := Problemf(CodeQueueTimeout, "the request waited %s for its turn, as long as it may; please try again later", Words(waited))
	p.NoRetry = true
	return p
}
