package proxy

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// Server is the edge.
type Server struct {
	cfg       Config
	deps      Deps
	metrics   *metrics
	cors      cors
	estimates *estimates
	outputs   *policy.Outputs
	held      budget // bytes of bodies
	status    atomic.Pointer[QueueStatus]

	flight flight
	drain  context.Context // ends when draining begins
	refuse context.CancelFunc
	base   context.Context // of all requests: ends when the grace does
	cut    context.CancelCauseFunc

	mu    sync.Mutex
	http  *http.Server
	addr  net.Addr
	serve chan struct{}
}

// New makes an edge. An error names the key that is wrong, or the metric that
// could not be registered.
func New(cfg Config, deps Deps) (*Server, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if len(deps.CacheKey) == 0 {
		deps.CacheKey = make([]byte, sha256.Size)
		rand.Read(deps.CacheKey)
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("metrics of the edge: %w", err)
	}
	s := &Server{cfg: cfg, deps: deps, metrics: m, cors: newCORS(cfg.CORSOrigins), estimates: newEstimates(), outputs: policy.NewOutputs(), flight: newFlight()}
	s.held.limit.Store(cfg.MaxBytes)
	s.SetQueueStatus(cfg.QueueStatus)
	s.drain, s.refuse = context.WithCancel(context.Background())
	s.base, s.cut = context.WithCancelCause(context.Background())
	return s, nil
}

// Start listens. A second Start is nothing.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.serveOn(l)
	return nil
}

func (s *Server) serveOn(l net.Listener) {
	srv := s.newHTTP()
	s.http, s.addr, s.serve = srv, l.Addr(), make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		err := s.accept(srv, l)
		if !errors.Is(err, http.ErrServerClosed) {
			s.deps.Logger.Error("the edge stopped serving", slog.Any("error", err))
		}
	}(s.serve)
}

func (s *Server) accept(srv *http.Server, l net.Listener) error {
	if s.cfg.TLS != nil {
		return srv.ServeTLS(l, "", "")
	}
	return srv.Serve(l)
}

func (s *Server) newHTTP() *http.Server {
	return &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         s.cfg.TLS,
		ReadHeaderTimeout: s.cfg.ReadHeader,
		IdleTimeout:       s.cfg.Idle,
		MaxHeaderBytes:    maxHeader,
		BaseContext:       func(net.Listener) context.Context { return s.base },
		ErrorLog:          slog.NewLogLogger(s.deps.Logger.Handler(), slog.LevelDebug),
	}
}

// Addr is where it listens; nil: it does not.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// SetMaxBytes changes how many bytes of bodies may be held, while it serves.
func (s *Server) SetMaxBytes(n int64) { s.held.limit.Store(max(n, s.cfg.MaxBody)) }

// Drain begins to refuse: new requests, and those that wait. What runs goes on.
func (s *Server) Drain() {
	s.flight.drain()
	s.refuse()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		s.http.SetKeepAlivesEnabled(false)
	}
}

// Stop drains, waits for what runs as long as the grace lasts, and ends what is
// left with an error. Until then it goes on to listen, so that whoever comes is
// told to come again. A second Stop is nothing.
func (s *Server) Stop(ctx context.Context) {
	s.Drain()
	s.mu.Lock()
	srv, served := s.http, s.serve
	s.mu.Unlock()
	if srv == nil {
		return
	}
	if !s.flight.landed(ctx, s.cfg.Grace) {
		s.deps.Logger.WarnContext(ctx, "answers are cut off: they take longer than http.shutdown_grace", slog.Duration("grace", s.cfg.Grace))
		s.cut(errDraining)
		s.flight.landed(context.WithoutCancel(ctx), lastWords)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if err := srv.Shutdown(last); err != nil {
		_ = srv.Close() // nothing is left to be done about an error
	}
	<-served
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addr = nil
}

// Handler serves the edge's paths.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.handle) }

func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/healthz":
		s.health(w, r, nil)
		return
	case "/readyz":
		s.health(w, r, s.ready())
		return
	}
	x := s.begin(w, r)
	defer x.end() //nolint:contextcheck // the request has it
	if s.cors.preflight(w, r) {
		x.rec.outcome, x.rec.status = scheduler.Completed, http.StatusNoContent
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if p := x.serve(); p != nil { //nolint:contextcheck // the request has it
		x.fail(p) //nolint:contextcheck // the request has it
	}
}

func (s *Server) ready() error {
	if s.flight.draining() {
		return errDraining
	}
	if s.deps.Ready == nil {
		return nil
	}
	return s.deps.Ready()
}

var errDraining = errors.New("shutting down")

// lastWords is how long clients have to take the error that their answers end in
// after the grace, and connections to end.
const lastWords = 2 * time.Second

func (s *Server) health(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	text := "ok\n"
	if err != nil {
		text = err.Error() + "\n"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		s.deps.Logger.DebugContext(r.Context(), "nobody waited for the health", slog.Any("error", err))
	}
}
