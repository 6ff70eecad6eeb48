package vllm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// staleWithin is how soon a kept connection shows that the backend had closed it
// before the request came. Later than that, the backend may have been at work.
const staleWithin = 50 * time.Millisecond

// Errors of a call, for who decides about another one.
var (
	// ErrUnreachable: no connection, so the backend never had the request.
	ErrUnreachable = errors.New("backend is not reachable")
	// ErrStale: a kept connection turned out to be closed, and so did the next.
	// The backend hardly had the request.
	ErrStale = errors.New("backend had closed the connection")
)

// Request is one call to the backend.
type Request struct {
	Method string // empty: POST
	Path   string // with the query, if any
	Header http.Header
	Body   []byte
	// ID goes out as X-Request-Id. It has to be unique: vLLM breaks on two
	// requests of one id.
	ID string
	// Priority goes out as X-Vllm-Priority if it is not negative.
	Priority int
}

// Do sends r. The answer's body has to be closed; ending ctx aborts the request
// at the backend. What met a kept connection that the backend had closed is
// sent once more. See [ErrUnreachable] and [ErrStale].
func (b *Backend) Do(ctx context.Context, r Request) (*http.Response, error) {
	resp, err := b.try(ctx, r)
	if !errors.Is(err, ErrStale) {
		return resp, err
	}
	b.transport.CloseIdleConnections() // the others are hardly better
	resp, again := b.try(ctx, r)
	if errors.Is(again, ErrUnreachable) && ctx.Err() == nil {
		return nil, err // it went away just now, and may have had the request
	}
	return resp, again
}

func (b *Backend) try(ctx context.Context, r Request) (*http.Response, error) {
	var way way
	req, err := b.request(httptrace.WithClientTrace(ctx, way.trace()), r)
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", b.host, err)
	}
	resp, err := b.transport.RoundTrip(req) // redirects are the client's to follow
	if err != nil {
		return nil, b.explain(err, way.verdict(ctx))
	}
	return resp, nil
}

func (b *Backend) request(ctx context.Context, r Request) (*http.Request, error) {
	method := r.Method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, b.cfg.URL+r.Path, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	for k, vs := range r.Header {
		if k = http.CanonicalHeaderKey(k); passes(k) {
			req.Header[k] = vs
		}
	}
	if b.cfg.APIKey != "" {
		req.Header.Set("Authorization", "Bearer "+b.cfg.APIKey)
	}
	if r.ID != "" {
		req.Header.Set("X-Request-Id", r.ID)
	}
	if r.Priority >= 0 {
		req.Header.Set("X-Vllm-Priority", strconv.Itoa(r.Priority))
	}
	return req, nil
}

// passes reports whether a header may be handed on to the backend: no credential
// of the caller, nothing that belongs to its connection, and nothing that is
// ours to set. An answer that comes compressed could not be looked at.
func passes(header string) bool {
	switch header {
	case "Authorization", "Proxy-Authorization", "X-Api-Key", "Api-Key", "Cookie",
		"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Host", "Content-Length", "Expect",
		"Accept-Encoding", "X-Request-Id", "X-Vllm-Priority":
		return false
	default:
		return true
	}
}

// way notes how far a request came.
type way struct {
	wanted, reused, answered atomic.Bool
	got                      atomic.Int64 // when it had a connection; 0: never
}

func (w *way) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { // again, if nothing could be written to the one before
			w.wanted.Store(true)
			w.got.Store(0)
		},
		GotConn: func(i httptrace.GotConnInfo) {
			w.reused.Store(i.Reused)
			w.got.Store(time.Now().UnixNano())
		},
		GotFirstResponseByte: func() { w.answered.Store(true) },
	}
}

// verdict is nil if the backend may have had the request.
func (w *way) verdict(ctx context.Context) error {
	got := w.got.Load()
	switch {
	case got == 0 && w.wanted.Load():
		return ErrUnreachable
	case w.reused.Load() && !w.answered.Load() && ctx.Err() == nil && time.Since(time.Unix(0, got)) < staleWithin:
		return ErrStale
	default:
		return nil
	}
}

func (b *Backend) explain(err, verdict error) error {
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL, which says nothing that the host does not
	}
	if verdict == nil {
		return fmt.Errorf("backend %s: %w", b.host, err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		err = op.Err
	}
	return fmt.Errorf("%w at %s: %w", verdict, b.host, err)
}
