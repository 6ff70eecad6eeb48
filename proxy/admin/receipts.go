package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"fairlane/scheduler"
)

// Receipts finds out why requests waited.
type Receipts interface {
	Find(ctx context.Context, q ReceiptQuery) ([]scheduler.Receipt, error)
}

// ReceiptQuery says whose receipts are asked for: of a request, a person or a
// conversation, or the newest of all.
type ReceiptQuery struct {
	ID    string        // as the client was told, or as the log calls the call
	User  string        // key, id, email or name
	Chat  string        // id of the conversation
	Last  time.Duration // only what ended since then; 0: as far back as is kept
	Limit int           // the newest so many; 0: 20
}

// ReceiptList is what the API answers, the newest first.
type ReceiptList struct {
	Receipts []scheduler.Receipt `json:"receipts"`
}

// receiptPatience bounds a search through the whole log.
const receiptPatience = 30 * time.Second

// receiptRoutes are for operators: receipts say who asked when, and how much.
func (s *Server) receiptRoutes(mux *http.ServeMux) {
	mux.Handle("GET /api/v1/receipts", s.operators(s.listReceipts))
	mux.Handle("GET /api/v1/receipts/{id}", s.operators(func(w http.ResponseWriter, r *http.Request) {
		s.answerReceipts(w, r, ReceiptQuery{ID: r.PathValue("id"), Limit: mostOfOneID})
	}))
}

// mostOfOneID bounds how many requests of one id are told: a client may send the
// same one again and again.
const mostOfOneID = 20

func (s *Server) listReceipts(w http.ResponseWriter, r *http.Request) {
	v := r.URL.Query()
	q := ReceiptQuery{ID: v.Get("id"), User: v.Get("user"), Chat: v.Get("chat")}
	if q.ID != "" && q.User+q.Chat != "" || q.User != "" && q.Chat != "" {
		http.Error(w, "id, user and chat: one of them is enough", http.StatusBadRequest)
		return
	}
	if last := v.Get("last"); last != "" {
		d, err := time.ParseDuration(last)
		if err != nil || d <= 0 {
			http.Error(w, "last: a duration like 15m or 1h is expected", http.StatusBadRequest)
			return
		}
		q.Last = d
	}
	if limit := v.Get("limit"); limit != "" {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 {
			http.Error(w, "limit: a number from 1 is expected", http.StatusBadRequest)
			return
		}
		q.Limit = n
	}
	s.answerReceipts(w, r, q)
}

func (s *Server) answerReceipts(w http.ResponseWriter, r *http.Request, q ReceiptQuery) {
	if s.cfg.Receipts == nil {
		http.Error(w, "no receipts are kept: history.receipts is 0", http.StatusNotFound)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), receiptPatience)
	defer cancel()
	found, err := s.cfg.Receipts.Find(ctx, q)
	switch {
	case err != nil:
		s.cfg.Logger.WarnContext(ctx, "the receipts can't be read", slog.Any("error", err))
		http.Error(w, "the receipts can't be read: "+err.Error(), http.StatusServiceUnavailable)
	case len(found) == 0 && r.PathValue("id") != "":
		http.Error(w, "there is no receipt of that request: it is older than history.receipts keeps, was never here, or was no call of a model", http.StatusNotFound)
	default:
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		if err := enc.Encode(ReceiptList{found}); err != nil {
			s.cfg.Logger.DebugContext(ctx, "the receipts were not read to their end", slog.Any("error", err))
		}
	}
}
