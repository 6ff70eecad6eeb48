package broker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlane/scheduler"
)

// wantStoreProblem fails the test unless a client is told that the store is at
// fault, and that it may come again.
func wantStoreProblem(t testing.TB, err error, says string) {
	t.Helper()
	p, ok := errors.AsType[*scheduler.Problem](err)
	if !ok || errors.Is(err, scheduler.ErrFull) {
		t.Fatalf("%v is no problem of the store", err)
	}
	if p.Reason != scheduler.ReasonStore || p.Code.Status() != http.StatusServiceUnavailable || p.RetryAfter <= 0 || !strings.Contains(p.Message, says) {
		t.Errorf("the client is told %+v, status %d; want %q", p, p.Code.Status(), says)
	}
}

// TestWhatJetStreamSaysOfRoom tells a bound of the stream, which is the queue's,
// from a store that can't write.
func TestWhatJetStreamSaysOfRoom(t *testing.T) {
	said := func(code jetstream.ErrorCode, what string) error {
		return fmt.Errorf("publish: %w", &jetstream.APIError{Code: 503, ErrorCode: code, Description: what})
	}
	for what, want := range map[string]error{
		"maximum messages exceeded":             ErrStreamFull,
		"maximum bytes exceeded":                ErrStreamFull,
		"maximum messages per subject exceeded": ErrFlowFull,
	} {
		if err := fullError(said(codeStoreFailed, what)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
	}
	for _, what := range []string{"write /data/2.blk: no space left on device", "message too large"} {
		err := said(codeStoreFailed, what)
		if full := fullError(err); full != nil || !storeFailed(err) {
			t.Errorf("%s: %v, failed %v", what, full, storeFailed(err))
		}
		wantStoreProblem(t, storeError(err), "can't write")
	}
	if err := said(codeStoreFailed, "store is closed"); fullError(err) != nil || storeFailed(err) || !retryable(err) {
		t.Error("a store between two leaders is not tried again")
	}
	for _, err := range []error{jetstream.ErrNoStreamResponse, context.DeadlineExceeded, nats.ErrConnectionClosed} {
		wantStoreProblem(t, storeError(err), "does not answer")
	}
	if p, ok := errors.AsType[*scheduler.Problem](storeError(context.Canceled)); ok {
		t.Errorf("a client that left is told %v", p)
	}
}
