package vllm

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
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
	Name    string        // that a certificate is checked against; empty: the URL's
	Connect time.Duration // for the TCP and TLS handshakes; 0: 2 s
	Probe   time.Duration // between looks at health and metrics; 0: 1 s
	Logger  *slog.Logger
	// Dial makes the connections; nil: over TCP.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// same reports whether two backends differ in nothing that matters.
func (c Config) same(o Config) bool {
	return c.URL == o.URL && c.APIKey == o.APIKey && c.Name == o.Name && c.Connect == o.Connect && c.Probe == o.Probe
}

// Backend is one server and what was last seen of it.
type Backend struct {
	cfg       Config
	transport *http.Transport
	host      string

	status atomic.Pointer[scheduler.BackendStatus]
	kick   chan chan struct{}

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
	b := &Backend{cfg: cfg, host: u.Host, kick: make(chan chan struct{}), transport: transport(cfg)}
	b.status.Store(&scheduler.BackendStatus{URL: cfg.URL, Detail: "not looked at yet"})
	return b, nil
}

func transport(cfg Config) *http.Transport {
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: cfg.Connect, KeepAlive: 15 * time.Second}).DialContext
	}
	return &http.Transport{
		DialContext:         dial,
		TLSClientConfig:     &tls.Config{ServerName: cfg.Name, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: cfg.Connect,
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
