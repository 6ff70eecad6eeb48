package vllm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fairlane/scheduler"
)

// idleTimeout is below the 5 s after which vLLM's server closes an idle connection.
const idleTimeout = 4 * time.Second

// Config is one backend.
type Config struct {
	URL     string        // base URL without /v1, e.g. http://127.0.0.1:8000
	APIKey  string        // sent as a bearer token; empty: none
	Connect time.Duration // for the TCP and TLS handshakes; 0: 2 s
	Probe   time.Duration // between looks at health and metrics; 0: 1 s
	Logger  *slog.Logger
}

// Backend is one server and what was last seen of it.
type Backend struct {
	cfg    Config
	client *http.Client
	host   string

	status atomic.Pointer[scheduler.BackendStatus]
	kick   chan chan struct{}
	change func()

	mu     sync.Mutex
	cancel context.CancelFunc
	done   chan struct{}
}

// New makes a backend. It is not up until a probe says so.
func New(cfg Config) (*Backend, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("backend %q: %w", cfg.URL, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("backend %q: expected http://host:port", cfg.URL)
	}
	cfg.URL = strings.TrimRight(cfg.URL, "/")
	if cfg.Connect <= 0 {
		cfg.Connect = 2 * time.Second
	}
	if cfg.Probe <= 0 {
		cfg.Probe = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Backend{cfg: cfg, host: u.Host, kick: make(chan chan struct{}), client: &http.Client{
		Transport:     transport(cfg.Connect),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	b.status.Store(&scheduler.BackendStatus{URL: cfg.URL, Detail: "not looked at yet"})
	return b, nil
}

func transport(connect time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: connect, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: connect,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
		ReadBufferSize:      4 << 10,
		WriteBufferSize:     4 << 10,
	}
}

// URL is the backend's URL as configured, its identity everywhere.
func (b *Backend) URL() string { return b.cfg.URL }

// Host is host:port, its label on metrics.
func (b *Backend) Host() string { return b.host }

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
// at the backend. An error that is [ErrUnreachable] means that the backend
// never had the request.
func (b *Backend) Do(ctx context.Context, r Request) (*http.Response, error) {
	method := r.Method
	if method == "" {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, b.cfg.URL+r.Path, bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", b.host, err)
	}
	for k, vs := range r.Header {
		req.Header[k] = vs
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
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, b.explain(err)
	}
	return resp, nil
}

// ErrUnreachable marks an error of a call that never reached the backend.
var ErrUnreachable = errors.New("backend is not reachable")

func (b *Backend) explain(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, b.host, op.Err)
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return fmt.Errorf("%w at %s: %w", ErrUnreachable, b.host, dns)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err // without the URL, which says nothing that the host does not
	}
	return fmt.Errorf("backend %s: %w", b.host, err)
}

// get reads a small answer of the backend's management side.
func (b *Backend) get(ctx context.Context, path string, limit int64) (int, []byte, error) {
	resp, err := b.Do(ctx, Request{Method: http.MethodGet, Path: path, Priority: -1})
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return resp.StatusCode, nil, fmt.Errorf("backend %s: %w", b.host, err)
	}
	return resp.StatusCode, body, nil
}
