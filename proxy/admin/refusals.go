package admin

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"

	"fairlane/proxy/refusals"
)

// Refusals knows who was refused most in the last hour, in all processes together.
type Refusals interface {
	Top(n int) []refusals.Refused
}

// RefusedList is the answer of GET /api/v1/refusals.
type RefusedList struct {
	Window string             `json:"window"` // in which it was counted
	Users  []refusals.Refused `json:"users"`  // the most refusals first
}

const (
	usualTop = 20
	mostTop  = 1000
)

// refusalRoutes are the part of the admin API about who is refused.
func (s *Server) refusalRoutes(mux *http.ServeMux) {
	if s.cfg.Refusals != nil {
		mux.HandleFunc("GET /api/v1/refusals", s.topRefused)
	}
}

func (s *Server) topRefused(w http.ResponseWriter, r *http.Request) {
	n := usualTop
	if text := r.URL.Query().Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 || n > mostTop {
			http.Error(w, "n has to be a number from 1 to "+strconv.Itoa(mostTop), http.StatusBadRequest)
			return
		}
	}
	w.Header().Set("Content-Type", "application/json")
	answer := RefusedList{"1h", s.cfg.Refusals.Top(n)}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.cfg.Logger.DebugContext(r.Context(), "the list of refused users was not read to its end", slog.Any("error", err))
	}
}
