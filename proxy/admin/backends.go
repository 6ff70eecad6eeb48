package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
)

// The errors that Backends answers with; others are ours.
var (
	ErrNotFound = errors.New("not found")
	ErrInvalid  = errors.New("invalid")
)

// Backends changes the backends of pools while they run.
type Backends interface {
	Add(ctx context.Context, pool string, b NewBackend) error
	Drain(ctx context.Context, pool, url string) error
	Resume(ctx context.Context, pool, url string) error
	Remove(ctx context.Context, pool, url string) error
}

// NewBackend is one that a pool gets; its key is that of the pool's first.
type NewBackend struct {
	URL      string `json:"url"`
	Slots    int    `json:"slots"`     // 0: learned
	KVTokens int    `json:"kv_tokens"` // 0: from its metrics
}

// backendOrder is the body of what changes a backend.
type backendOrder struct {
	NewBackend

	Pool string `json:"pool"` // may be left out where there is one pool
}

const maxOrder = 64 << 10

// backendRoutes are the backends' part of the admin API.
func (s *Server) backendRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/backends", s.listBackends)
	if s.cfg.Backends == nil {
		return
	}
	b := s.cfg.Backends
	order := func(f func(ctx context.Context, o *backendOrder) error) http.Handler {
		return s.operators(func(w http.ResponseWriter, r *http.Request) { s.orderBackend(w, r, f) })
	}
	mux.Handle("POST /api/v1/backends", order(func(ctx context.Context, o *backendOrder) error { return b.Add(ctx, o.Pool, o.NewBackend) }))
	mux.Handle("POST /api/v1/backends/drain", order(func(ctx context.Context, o *backendOrder) error { return b.Drain(ctx, o.Pool, o.URL) }))
	mux.Handle("POST /api/v1/backends/resume", order(func(ctx context.Context, o *backendOrder) error { return b.Resume(ctx, o.Pool, o.URL) }))
	mux.Handle("DELETE /api/v1/backends", order(func(ctx context.Context, o *backendOrder) error { return b.Remove(ctx, o.Pool, o.URL) }))
}

// listBackends answers the backends by pool, as the status has them.
func (s *Server) listBackends(w http.ResponseWriter, _ *http.Request) {
	out := map[string][]Backend{}
	for _, p := range s.cfg.Status().Pools {
		out[p.Name] = p.Backends
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(out) // who does not read it to its end has gone
}

// orderBackend reads an order, from the body or, for a DELETE, the query, and
// carries it out.
func (s *Server) orderBackend(w http.ResponseWriter, r *http.Request, f func(context.Context, *backendOrder) error) {
	o := &backendOrder{Pool: r.URL.Query().Get("pool")}
	o.URL = r.URL.Query().Get("url")
	if o.URL == "" {
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
		dec.DisallowUnknownFields()
		if err := dec.Decode(o); err != nil {
			http.Error(w, `expected {"pool": "main", "url": "http://gpu-box:8000", "slots": 0, "kv_tokens": 0}: `+err.Error(), http.StatusBadRequest)
			return
		}
	}
	if pools := s.cfg.Status().Pools; o.Pool == "" && len(pools) == 1 {
		o.Pool = pools[0].Name
	}
	if o.Slots < 0 || o.KVTokens < 0 {
		http.Error(w, "slots and kv_tokens are 0 or more", http.StatusBadRequest)
		return
	}
	err := f(r.Context(), o)
	switch {
	case errors.Is(err, ErrNotFound):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrInvalid):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		s.cfg.Logger.ErrorContext(r.Context(), "an order about a backend failed", slog.Any("error", err))
		http.Error(w, "it was not kept, and nothing has changed: "+err.Error(), http.StatusServiceUnavailable)
	default:
		s.cfg.Logger.InfoContext(r.Context(), "an operator changed a backend",
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("pool", o.Pool), slog.String("backend", o.URL))
		w.WriteHeader(http.StatusNoContent)
	}
}
