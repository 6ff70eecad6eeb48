package dispatcher

import (
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
)

// blame holds a failed attempt against its backend.
func (l *leader) blame(it *item, b *capacity.Backend, why *scheduler.Problem, now time.Time) {
	if !b.Fault(now) {
		return
	}
	reason := ""
	if why != nil {
		reason = why.Message
	}
	l.cfg.Logger.Warn("a backend failed several requests in a row and gets no more than one at a time until it answers",
		slog.String("pool", l.cfg.Pool), slog.String("backend", b.URL()), slog.String("call_id", it.entry.ID), slog.String("reason", reason))
}

// alive says that a backend answers again, if it had been held to be broken.
func (l *leader) alive(b *capacity.Backend, closed bool) {
	if closed {
		l.cfg.Logger.Info("a backend that failed answers again", slog.String("pool", l.cfg.Pool), slog.String("backend", b.URL()))
	}
}
