package refusals

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	tellEvery   = 2 * time.Second
	mostPending = 1000 // users of one piece; whoever is refused often is in the next one
	topWindow   = time.Hour
	claimWait   = 5 * time.Second
)

// Bus reaches all processes, this one too.
type Bus interface {
	Publish(data []byte) error
	Subscribe(fn func(data []byte)) (stop func(), err error)
}

// Claims decides which process tells of something.
type Claims interface {
	// Claim is won by the first who asks within a window; until is when the next
	// may win.
	Claim(ctx context.Context, key string, window time.Duration) (won bool, until time.Time, err error)
}

// Config is a watch's.
type Config struct {
	Alerts  []Alert
	Bus     Bus
	Claims  Claims                // nil if there are no alerts
	Metrics prometheus.Registerer // nil: none
	Logger  *slog.Logger

	backoff time.Duration // before the second attempt to tell; 0: 1 s
}

// Watch counts refusals and sends alerts.
type Watch struct {
	cfg   Config
	rules []*rule

	mu      sync.Mutex
	pending map[string]*Refused
	top     *Tally
	stop    func()
}

// rule is an alert with its counts.
type rule struct {
	Alert
	tally *Tally
	post  *post
}

// New makes a watch. An error says that the metric could not be registered.
func New(cfg Config) (*Watch, error) {
	w := &Watch{cfg: cfg, pending: map[string]*Refused{}, top: NewTally(topWindow)}
	sent := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlane_alerts_total", Help: "Alerts by whom they went to and whether they arrived."}, []string{"to", "outcome"})
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(sent); err != nil {
			return nil, fmt.Errorf("metrics of the alerts: %w", err)
		}
	}
	for _, a := range cfg.Alerts {
		w.rules = append(w.rules, &rule{Alert: a, tally: NewTally(a.Window), post: newPost(a, &cfg, sent)})
	}
	return w, nil
}

// Add counts a refusal. It never blocks.
func (w *Watch) Add(r *Refused) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pending[r.UserKey]
	if p == nil {
		if len(w.pending) >= mostPending {
			return
		}
		p = &Refused{}
		w.pending[r.UserKey] = p
	}
	n := p.Refusals + 1
	*p = *r
	p.Refusals = n
}

// Top are those who were refused most in the last hour, everywhere.
func (w *Watch) Top(n int) []Refused {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.top.Top(n, time.Now())
}

// Start begins to tell and to hear. A second Start is nothing.
func (w *Watch) Start(ctx context.Context) error {
	if w.stop != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unsubscribe, err := w.cfg.Bus.Subscribe(w.hear)
	if err != nil {
		cancel()
		return fmt.Errorf("hear of refusals: %w", err)
	}
	var all sync.WaitGroup
	all.Go(func() { w.run(ctx) })
	for _, r := range w.rules {
		all.Go(func() { r.post.run(ctx) })
	}
	w.stop = sync.OnceFunc(func() { unsubscribe(); cancel(); all.Wait() })
	return nil
}

// Stop ends it. A second Stop is nothing.
func (w *Watch) Stop() {
	if w.stop != nil {
		w.stop()
	}
}

func (w *Watch) run(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.tell(ctx)
			w.alert(ctx)
		}
	}
}

// tell publishes what was refused here since the last time.
func (w *Watch) tell(ctx context.Context) {
	w.mu.Lock()
	pending := w.pending
	w.pending = map[string]*Refused{}
	w.mu.Unlock()
	if len(pending) == 0 {
		return
	}
	all := make([]*Refused, 0, len(pending))
	for _, r := range pending {
		all = append(all, r)
	}
	data, err := json.Marshal(all)
	if err == nil {
		err = w.cfg.Bus.Publish(data)
	}
	if err != nil { // then at least this process knows
		w.cfg.Logger.DebugContext(ctx, "the other processes do not hear of refusals", slog.Any("error", err))
		w.count(all)
	}
}

// hear takes what a process says.
func (w *Watch) hear(data []byte) {
	var all []*Refused
	if err := json.Unmarshal(data, &all); err != nil {
		w.cfg.Logger.Debug("what another process says of refusals can't be read", slog.Any("error", err))
		return
	}
	w.count(all)
}

func (w *Watch) count(all []*Refused) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range all {
		if r == nil || r.UserKey == "" || r.Refusals <= 0 {
			continue
		}
		w.top.Add(r, now)
		for _, rule := range w.rules {
			rule.tally.Add(r, now)
		}
	}
}

// alert tells of those who are over.
func (w *Watch) alert(ctx context.Context) {
	for _, r := range w.rules {
		for _, who := range w.over(r) {
			w.claim(ctx, r, who)
		}
	}
}

// over are those of whom somebody is to be told.
func (w *Watch) over(r *rule) []Refused {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Refused
	for _, e := range r.tally.users {
		if r.tally.roll(e, now); e.Refusals > r.Over && now.After(e.told) {
			out = append(out, e.Refused)
		}
	}
	return out
}

// claim sends the alert if no other process has.
func (w *Watch) claim(ctx context.Context, r *rule, who Refused) {
	ctx, cancel := context.WithTimeout(ctx, claimWait)
	defer cancel()
	won, until, err := w.cfg.Claims.Claim(ctx, r.key(who.UserKey), r.Window)
	if err != nil { // the next turn tries again
		w.cfg.Logger.DebugContext(ctx, "it is not known whether an alert was sent already", slog.Any("error", err))
		return
	}
	w.mu.Lock()
	if e := r.tally.users[who.UserKey]; e != nil {
		e.told = until
	}
	w.mu.Unlock()
	if won {
		r.post.put(who)
	}
}
