package dispatcher

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"time"

	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/turn"
)

const (
	saveEvery       = 5 * time.Second
	savePatience    = 2 * time.Second
	recallPatience  = 500 * time.Millisecond // a pool without a leader waits for it
	savedVersion    = 1
	mostSaved       = 1000 // debts, users, prefix groups: what a message of 1 MB holds
	debtsGoodFor    = time.Minute
	troublesGoodFor = 10 * time.Minute
)

// saved is what a leader leaves to its successor. Nothing in it is needed: who
// finds none begins anew.
type saved struct {
	turn.Learned
	Version  int                `json:"version"`
	At       time.Time          `json:"at"`
	Debts    []fairqueue.Debt   `json:"debts,omitempty"`
	Owed     []fairqueue.Cost   `json:"owed,omitempty"` // by tiers, to those below
	Backends []capacity.Learned `json:"backends,omitempty"`
	Troubles map[string]trouble `json:"troubles,omitempty"`
	Suspects []Suspect          `json:"suspects,omitempty"`
	Load     int                `json:"load,omitempty"`
}

// remember saves what was learned, every 5 s and never twice at once.
func (l *leader) remember(now time.Time) {
	if l.cfg.Memory == nil || !l.open || now.Sub(l.savedAt) < saveEvery || !l.cfg.Lease.Valid() || !l.saving.CompareAndSwap(false, true) {
		return
	}
	l.savedAt = now
	s := l.learned(now)
	go func() {
		defer l.saving.Store(false)
		l.save(l.ctx, s)
	}()
}

// farewell saves a last time, before the lease is given back.
func (l *leader) farewell() {
	if l.cfg.Memory == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), savePatience)
	defer cancel()
	var s *saved
	if l.ask(ctx, func() {
		if l.open {
			s = l.learned(time.Now())
		}
	}) && s != nil {
		l.save(ctx, s)
	}
}

func (l *leader) save(ctx context.Context, s *saved) {
	ctx, cancel := context.WithTimeout(ctx, savePatience)
	defer cancel()
	b, err := json.Marshal(s)
	if err == nil {
		err = l.cfg.Memory.Save(ctx, b)
	}
	if err != nil {
		l.cfg.Logger.DebugContext(ctx, "what was learned was not saved", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
	}
}

// learned copies what is worth to be saved.
func (l *leader) learned(now time.Time) *saved {
	s := &saved{
		Version: savedVersion, At: now, Debts: largest(l.turn.Queue.Export()), Owed: l.turn.Queue.Owed(),
		Learned:  l.turn.Learned(mostSaved),
		Troubles: map[string]trouble{}, Suspects: slices.Clone(l.suspects), Load: l.load.Level(),
	}
	for id, x := range l.troubles {
		if len(s.Troubles) < mostSaved {
			s.Troubles[id] = *x
		}
	}
	for _, b := range l.turn.Pool.Backends() {
		s.Backends = append(s.Backends, b.Learned())
	}
	return s
}

// largest keeps the debts that matter most.
func largest(debts []fairqueue.Debt) []fairqueue.Debt {
	if len(debts) <= mostSaved {
		return debts
	}
	slices.SortStableFunc(debts, func(a, b fairqueue.Debt) int { return cmp.Compare(b.V, a.V) })
	return debts[:mostSaved]
}

// recall takes what a predecessor saved.
func (l *leader) recall(ctx context.Context) {
	if l.cfg.Memory == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recallPatience)
	defer cancel()
	b, err := l.cfg.Memory.Load(ctx)
	s := &saved{}
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, s)
	}
	switch {
	case err != nil:
		l.cfg.Logger.DebugContext(ctx, "what was learned before can't be read", slog.String("pool", l.cfg.Pool), slog.Any("error", err))
	case s.Version == savedVersion:
		l.post(func() { l.inherit(s, time.Now()) })
	}
}

// inherit begins where a predecessor was. Debts are relative to a clock that
// stood still since; after a minute they are forgiven, and the load is forgotten.
func (l *leader) inherit(s *saved, now time.Time) {
	age := now.Sub(s.At)
	if age < debtsGoodFor {
		l.turn.Queue.Import(s.Debts)
		l.turn.Queue.Owe(s.Owed)
		l.load.Resume(s.Load)
	}
	if age < troublesGoodFor {
		for id, x := range s.Troubles {
			l.troubles[id] = &x
		}
	}
	l.suspects = s.Suspects[max(0, len(s.Suspects)-mostSuspects):]
	for _, x := range s.Backends {
		if b := l.turn.Pool.Backend(x.URL); b != nil {
			b.Recall(x)
		}
	}
	l.turn.Recall(&s.Learned)
}
