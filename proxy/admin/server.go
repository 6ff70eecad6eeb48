package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Role is what a token's holder may do.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
)

// Token lets somebody in.
type Token struct {
	Name  string
	Token string
	Role  Role
}

// Config is the admin port's.
type Config struct {
	Listen        string
	MetricsListen string // a second port with /metrics only; empty: none
	Tokens        []Token
	Gatherer      prometheus.Gatherer
	Status        func() Status
	Backends      Backends // nil: they can't be changed
	Quotas        Quotas   // nil: this process has no edge
	Receipts      Receipts // nil: none are kept
	Refusals      Refusals // nil: this process has no edge
	Logger        *slog.Logger
}

// Server is the admin port.
type Server struct {
	cfg     Config
	digests [][sha256.Size]byte
	servers []*http.Server
	addrs   []net.Addr
}

// New checks the configuration: without tokens only loopback will do.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{cfg: cfg}
	for _, t := range cfg.Tokens {
		if t.Token == "" {
			return nil, fmt.Errorf("admin.tokens: the token %q is empty", t.Name)
		}
		if t.Role != Viewer && t.Role != Operator {
			return nil, fmt.Errorf("admin.tokens: the token %q has the role %q, expected %s or %s", t.Name, t.Role, Viewer, Operator)
		}
		s.digests = append(s.digests, sha256.Sum256([]byte(t.Token)))
	}
	if len(cfg.Tokens) == 0 && !loopback(cfg.Listen) {
		return nil, fmt.Errorf("admin.listen: %q is not loopback: set admin.tokens, or listen on 127.0.0.1", cfg.Listen)
	}
	return s, nil
}

// loopback reports whether an address to listen on, or a Host, is this machine only.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsLoopback()
}

// Handler serves everything.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /api/v1/status", s.status)
	s.backendRoutes(mux)
	s.quotaRoutes(mux)
	s.receiptRoutes(mux)
	s.refusalRoutes(mux)
	mux.Handle("/debug/pprof/", s.operators(pprof.Index))
	mux.Handle("/debug/pprof/cmdline", s.operators(pprof.Cmdline))
	mux.Handle("/debug/pprof/profile", s.operators(pprof.Profile))
	mux.Handle("/debug/pprof/symbol", s.operators(pprof.Symbol))
	mux.Handle("/debug/pprof/trace", s.operators(pprof.Trace))
	// A page from elsewhere in the browser of who may come in orders nothing.
	guarded := http.NewCrossOriginProtection().Handler(s.guard(mux))
	outer := http.NewServeMux()
	outer.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	outer.Handle("/", guarded)
	return outer
}

func (s *Server) metrics() http.Handler {
	return promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(s.cfg.Status()); err != nil {
		s.cfg.Logger.DebugContext(r.Context(), "the status was not read to its end", slog.Any("error", err))
	}
}

func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case len(s.digests) == 0 && !loopback(r.Host):
			http.Error(w, "without admin.tokens this port answers under a loopback name only", http.StatusForbidden)
		case len(s.digests) > 0 && !s.holds(r, Viewer, Operator):
			w.Header().Set("WWW-Authenticate", `Bearer realm="fairlane admin"`)
			if forBrowsers(r) {
				w.Header().Add("WWW-Authenticate", `Basic realm="fairlane admin: a token of admin.tokens is the password"`)
			}
			http.Error(w, "a token of admin.tokens is needed: Authorization: Bearer …", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// operators lets only them in: what is behind it costs the process something, or
// tells what is in its memory. Without tokens whoever got past the guard is one.
func (s *Server) operators(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(s.digests) > 0 && !s.holds(r, Operator) {
			http.Error(w, "a token of admin.tokens with the role operator is needed", http.StatusForbidden)
			return
		}
		next(w, r)
	})
}

// forBrowsers reports whether a request is for the page, where a token may come as a
// password. Nothing else takes one, for a browser sends it with what others make it send.
func forBrowsers(r *http.Request) bool { return r.URL.Path == "/" }

// holds reports whether a request has a token of one of the roles. It compares
// digests, so that neither time nor length tells anything.
func (s *Server) holds(r *http.Request, roles ...Role) bool {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		if _, token, ok = r.BasicAuth(); !ok || !forBrowsers(r) {
			return false
		}
	}
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	found := 0
	for i, t := range s.cfg.Tokens {
		if slices.Contains(roles, t.Role) {
			found |= subtle.ConstantTimeCompare(digest[:], s.digests[i][:])
		}
	}
	return found == 1
}

// Start listens. A second Start is nothing.
func (s *Server) Start(ctx context.Context) error {
	if len(s.servers) > 0 {
		return nil
	}
	if err := s.serve(ctx, s.cfg.Listen, s.Handler()); err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	if s.cfg.MetricsListen == "" {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.metrics())
	if err := s.serve(ctx, s.cfg.MetricsListen, mux); err != nil {
		return fmt.Errorf("metrics.listen: %w", err)
	}
	return nil
}

func (s *Server) serve(ctx context.Context, addr string, h http.Handler) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	s.servers = append(s.servers, srv)
	s.addrs = append(s.addrs, l.Addr())
	go func() {
		if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.cfg.Logger.ErrorContext(ctx, "the admin port failed", slog.Any("error", err))
		}
	}()
	return nil
}

// Addrs are where it listens: the admin port, then the metrics port if there is
// one.
func (s *Server) Addrs() []net.Addr { return s.addrs }

// Stop closes the ports. A second Stop is nothing.
func (s *Server) Stop(ctx context.Context) {
	for _, srv := range s.servers {
		if err := srv.Shutdown(ctx); err != nil {
			_ = srv.Close() // nothing is left to be done about it
		}
	}
	s.servers, s.addrs = nil, nil
}
