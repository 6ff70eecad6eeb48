package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlane/scheduler"
)

// Errors of a publish that found no room. Both are scheduler.ErrFull and carry
// the scheduler.Problem that the client is told.
var (
	ErrFlowFull   = fmt.Errorf("too many entries of one user: %w", scheduler.ErrFull)
	ErrStreamFull = fmt.Errorf("too many entries in the pool: %w", scheduler.ErrFull)
)

// JetStream's error codes, as its errors.json numbers them.
const (
	codeNotFound        jetstream.ErrorCode = 10043 // no message with that sequence
	codeDeleteFailed    jetstream.ErrorCode = 10057
	codeStoreFailed     jetstream.ErrorCode = 10077 // a bound of the stream, or the store itself
	codeAccountResource jetstream.ErrorCode = 10002
	codeNoResources     jetstream.ErrorCode = 10023
	codeMemoryExceeded  jetstream.ErrorCode = 10028
	codeStorageExceeded jetstream.ErrorCode = 10047
)

// publishEnds is what a publish ends with after a try that failed; nil: it may fare
// better when it is repeated.
func (b *Broker) publishEnds(err error) error {
	if full := fullError(err); full != nil {
		return full
	}
	if ill := b.ill(); ill != nil {
		err = fmt.Errorf("%w: %w", ill, err)
	}
	if storeFailed(err) || !retryable(err) {
		return storeError(err)
	}
	return nil
}

// fullError is what err says about room; nil: nothing.
func fullError(err error) error {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return nil
	}
	switch api.ErrorCode {
	case codeStoreFailed: // a bound of the stream, or the store can't write
		switch api.Description {
		case server.ErrMaxMsgsPerSubject.Error():
			return fmt.Errorf("%w: %w", ErrFlowFull, scheduler.Refusal(scheduler.CodeQueueLimit, scheduler.ReasonUserQueue, 10*time.Second,
				fmt.Sprintf("you have %d requests waiting and running, the most that one user may have; please try again when some are done", maxPerFlow)))
		case server.ErrMaxMsgs.Error(), server.ErrMaxBytes.Error():
		default:
			return nil
		}
	case codeAccountResource, codeNoResources, codeMemoryExceeded, codeStorageExceeded:
	default:
		return nil
	}
	return fmt.Errorf("%w: %w", ErrStreamFull, scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonPoolQueue, 10*time.Second,
		"the queue is full; please try again in a few seconds"))
}

// storeError adds to err what the client is told of a store that did not take its
// request; nothing where it was the client who left.
func storeError(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	message := "the queue's store does not answer; please try again in a few seconds"
	if storeFailed(err) {
		message = "the queue's store can't write, its disk may be full; please try again later"
	}
	return fmt.Errorf("publish: %w: %w", err, scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonStore, 2*time.Second, message))
}

// storeFailed reports whether err says that the store can't write. One that is
// closed is only between two leaders.
func storeFailed(err error) bool {
	if errors.Is(err, errIll) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeStoreFailed && api.Description != server.ErrStoreClosed.Error()
}

// retryable reports whether a repetition may fare better: nobody answered, or
// who answered has no leader or is busy.
func retryable(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return api.Code >= 500 || api.Code == 409 // 409: the first try is still under way
	}
	return !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrMaxPayload) &&
		!errors.Is(err, nats.ErrHeadersNotSupported) && !errors.Is(err, nats.ErrBadSubject)
}
