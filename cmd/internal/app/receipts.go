package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"fairlane/proxy"
	"fairlane/proxy/admin"
	"fairlane/scheduler"
	"fairlane/scheduler/arrivals"
	"fairlane/scheduler/history"
)

// receipts is where what became of requests goes to: the book, and the recording of
// arrivals.
type receipts struct {
	book     *history.Book      // nil: none are kept
	recorder *arrivals.Recorder // nil: nobody records
}

var (
	_ proxy.Receipts = (*receipts)(nil)
	_ admin.Receipts = (*receipts)(nil)
)

// Began implements proxy.Receipts.
func (r *receipts) Began(what *scheduler.Receipt) {
	if r.book != nil {
		r.book.Began(what)
	}
}

// Ended implements proxy.Receipts.
func (r *receipts) Ended(what *scheduler.Receipt) {
	if r.book != nil {
		r.book.Ended(what)
	}
	if r.recorder == nil {
		return
	}
	if arrival, ok := arrivals.Of(what); ok {
		r.recorder.Record(&arrival)
	}
}

// Find implements admin.Receipts.
func (r *receipts) Find(ctx context.Context, q admin.ReceiptQuery) ([]scheduler.Receipt, error) {
	search := history.Query{ID: q.ID, User: q.User, Chat: q.Chat, Limit: q.Limit}
	if q.Last > 0 {
		search.Since = time.Now().Add(-q.Last)
	}
	return r.book.Find(ctx, search)
}

// startReceipts starts to keep them, before anybody has any to give. A store that has
// no room for them serves all the same.
func (a *App) startReceipts(ctx context.Context) error {
	if err := a.startRecorder(ctx); err != nil {
		return err
	}
	keep := a.cfg.History.Receipts
	if keep <= 0 {
		return nil
	}
	log, err := a.broker.Receipts(ctx, max(keep, time.Second))
	if err != nil {
		a.log.WarnContext(ctx, "no receipts are kept: the store has no room for them", slog.Any("error", err))
		return nil
	}
	leaders := make([]scheduler.Explainer, len(a.cfg.Pools))
	for i, p := range a.cfg.Pools {
		leaders[i] = a.broker.Bus().Explainer(p.Name)
	}
	book := history.New(history.Config{
		Log: log, Leaders: leaders, Dropped: func(n int) { a.metrics.receiptsDropped.Add(float64(n)) }, Logger: a.log,
	})
	book.Start(ctx)
	a.onStop(book.Stop)
	a.receipts.book = book
	return nil
}

// startRecorder records arrivals where they come and if that is wanted.
func (a *App) startRecorder(ctx context.Context) error {
	if !a.cfg.History.RecordArrivals || !a.has(RoleProxy) {
		return nil
	}
	recorder, err := arrivals.NewRecorder(arrivals.RecorderConfig{Dir: filepath.Join(a.cfg.DataDir, "arrivals"), Logger: a.log})
	if err != nil {
		return fmt.Errorf("history.record_arrivals: %w", err)
	}
	recorder.Start(ctx)
	a.onStop(recorder.Stop)
	a.receipts.recorder = recorder
	return nil
}

// keeper is who the edge gives receipts to; nil: nobody wants any.
func (a *App) keeper() proxy.Receipts {
	if a.receipts.book == nil && a.receipts.recorder == nil {
		return nil
	}
	return &a.receipts
}

// queueKeeper is the same for dispatchers.
func (a *App) queueKeeper() func(*scheduler.Receipt) {
	if a.receipts.book == nil {
		return nil
	}
	return a.receipts.book.Queued
}

// finder finds them again; nil: none are kept.
func (a *App) finder() admin.Receipts {
	if a.receipts.book == nil {
		return nil
	}
	return &a.receipts
}
