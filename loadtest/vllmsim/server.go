package vllmsim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// keepAlive is how long uvicorn leaves an idle connection open.
const keepAlive = 5 * time.Second

// farewell is how long a server that goes down waits for its handlers.
const farewell = time.Second

// Server is an emulated vLLM.
type Server struct {
	cfg       Config
	loop      *loop
	metrics   *metrics
	routes    map[string]route
	responses *responseStore
	born      time.Time
	load      atomic.Int64 // requests that are being answered
	ids       atomic.Uint64

	mu      sync.Mutex
	addr    string // "": not started
	http    *http.Server
	serving sync.WaitGroup
}

// New makes a server that does not listen yet. Its Handler serves at once.
func New(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	engine, err := cfg.engine()
	if err != nil {
		return nil, err
	}
	m := newMetrics(cfg.Models[0], engine.Profile.MaxModelLen)
	l, err := newLoop(engine, cfg.Speed, m)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	s := &Server{cfg: cfg, loop: l, metrics: m, born: time.Now(), responses: newResponseStore()}
	l.onDeath = s.Crash
	m.registry.MustRegister(&engineMetrics{loop: l, labels: []string{cfg.Models[0], "0"}})
	s.routes = s.table()
	return s, nil
}

// Handler serves vLLM's API. While the engine is dead it closes every connection
// without an answer, as a process that has exited would refuse it.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Start listens on addr, such as "127.0.0.1:0", and serves until Stop.
func (s *Server) Start(addr string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return nil
	}
	return s.listenLocked(addr)
}

func (s *Server) listenLocked(addr string) error {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return fmt.Errorf("vllmsim: %w", err)
	}
	s.addr = ln.Addr().String()
	srv := &http.Server{
		Handler: s.Handler(), IdleTimeout: keepAlive, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	s.http = srv
	s.serving.Go(func() {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Logger.Error("emulated vLLM ends", slog.Any("error", err))
		}
	})
	s.cfg.Logger.Info("emulated vLLM listens", slog.String("addr", s.addr), slog.String("profile", s.cfg.Profile))
	return nil
}

// Addr is host:port of a server that was started, or "".
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Stop ends everything that runs and stops listening. It may be called at any
// time, also twice. The server cannot be started again.
func (s *Server) Stop() {
	s.loop.close()
	s.down()
	s.serving.Wait()
}

// down stops listening and ends the connections, when their handlers are through
// or after a second.
func (s *Server) down() {
	s.mu.Lock()
	srv := s.http
	s.http = nil
	s.mu.Unlock()
	if srv == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close() // what is left is cut
	}
}

// Crash kills the engine, as running out of GPU memory does: what runs or waits
// ends in an error, and then nobody answers until Recover.
func (s *Server) Crash() {
	s.loop.kill()
	s.cfg.Logger.Warn("emulated engine died")
	s.down()
}

// Recover starts it again, with an empty cache, at the same address.
func (s *Server) Recover() error {
	if err := s.loop.revive(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.addr == "" || s.http != nil {
		return nil
	}
	return s.listenLocked(s.addr)
}
