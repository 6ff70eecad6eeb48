package admin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"fairlane/proxy/limit/quota"
)

// Quotas are the limits of single callers, which change while everything runs.
type Quotas interface {
	// Show says what is in force for somebody.
	Show(ctx context.Context, who string) (quota.InForce, error)
	List(ctx context.Context) ([]quota.Override, error)
	// Set changes one for somebody who administers; without limits it is deleted.
	Set(ctx context.Context, who, name, limits string, lasts time.Duration) error
	Audit(ctx context.Context, n int) ([]quota.Change, error)
}

// QuotaOrder is the body of PUT /api/v1/quotas.
type QuotaOrder struct {
	Name   string `json:"name"`   // user:alice, user:alice:heavy, key:ci, group:R&D, role:vip
	Limits string `json:"limits"` // 200/minute
	For    string `json:"for"`    // 2h: a boost that ends then; empty: until it is deleted
}

const (
	someChanges = 100
	mostChanges = 10_000
)

// quotaRoutes are the quotas' part of the admin API.
func (s *Server) quotaRoutes(mux *http.ServeMux) {
	q := s.cfg.Quotas
	if q == nil {
		return
	}
	mux.HandleFunc("GET /api/v1/quotas", func(w http.ResponseWriter, r *http.Request) {
		if who := r.URL.Query().Get("of"); who != "" {
			v, err := q.Show(r.Context(), who)
			s.answer(w, r, v, err)
			return
		}
		v, err := q.List(r.Context())
		s.answer(w, r, v, err)
	})
	mux.HandleFunc("GET /api/v1/audit", func(w http.ResponseWriter, r *http.Request) { s.audit(w, r, q) })
	mux.Handle("PUT /api/v1/quotas", s.operators(func(w http.ResponseWriter, r *http.Request) { s.setQuota(w, r, q) }))
	mux.Handle("DELETE /api/v1/quotas", s.operators(func(w http.ResponseWriter, r *http.Request) {
		s.answer(w, r, nil, q.Set(r.Context(), s.who(r), r.URL.Query().Get("name"), "", 0))
	}))
}

func (s *Server) audit(w http.ResponseWriter, r *http.Request, q Quotas) {
	n := someChanges
	if text := r.URL.Query().Get("last"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > mostChanges {
			http.Error(w, "last is a number from 1 to "+strconv.Itoa(mostChanges), http.StatusBadRequest)
			return
		}
	}
	v, err := q.Audit(r.Context(), n)
	s.answer(w, r, v, err)
}

func (s *Server) setQuota(w http.ResponseWriter, r *http.Request, q Quotas) {
	var o QuotaOrder
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil || o.Limits == "" {
		http.Error(w, `expected {"name": "user:alice", "limits": "200/minute", "for": "2h"}, for only of what is to end`, http.StatusBadRequest)
		return
	}
	var lasts time.Duration
	if o.For != "" {
		var err error
		if lasts, err = time.ParseDuration(o.For); err != nil || lasts <= 0 {
			http.Error(w, "for is a time like 30m or 2h", http.StatusBadRequest)
			return
		}
	}
	s.answer(w, r, nil, q.Set(r.Context(), s.who(r), o.Name, o.Limits, lasts))
}

// answer writes a value as JSON, or what went wrong.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, v any, err error) {
	switch {
	case errors.Is(err, quota.ErrInvalid):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, quota.ErrNone):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		s.cfg.Logger.ErrorContext(r.Context(), "the quotas' store failed", slog.Any("error", err))
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case v == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(v) // who does not read it to its end has gone
	}
}

// who is the name of the token that a request has.
func (s *Server) who(r *http.Request) string {
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	name := "loopback without a token"
	for i, t := range s.cfg.Tokens {
		if subtle.ConstantTimeCompare(digest[:], s.digests[i][:]) == 1 {
			name = t.Name
		}
	}
	return name
}
