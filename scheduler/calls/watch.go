package calls

import (
	"context"
	"sync"
	"time"

	"fairlane/scheduler"
)

const (
	quietBeats = 3 // beats without news after which a call is asked after
	lostBeats  = 6 // beats without news after which an answer that began is given up
	giveUp     = 2 // answers "unknown" in a row after which a call is published again
	// askAtOnce is how many are asked after in a round; of those whose clients are shown
	// the answer, as many more.
	askAtOnce = 1024
	// overdue is how long after its deadline a call ends here if no dispatcher
	// is there to end it.
	overdue = 3 * time.Second
	// stoodStill is in beats: after a longer pause between two rounds nothing was
	// heard because nobody listened.
	stoodStill = 2
)

// watch looks for calls of which nothing was heard for too long.
type watch struct {
	d      *Desk
	last   time.Time // of the rounds
	asking sync.WaitGroup

	mu   sync.Mutex
	busy map[string]bool // pools whose dispatcher is being asked
}

func newWatch(d *Desk) *watch {
	return &watch{d: d, last: time.Now(), busy: map[string]bool{}}
}

func (w *watch) loop(ctx context.Context) {
	ticker := time.NewTicker(w.d.cfg.Beat)
	defer ticker.Stop()
	defer w.asking.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.round(ctx)
		}
	}
}

func (w *watch) round(ctx context.Context) {
	now := time.Now()
	pause := now.Sub(w.last)
	w.last = now
	if pause > stoodStill*w.d.cfg.Beat {
		for _, c := range w.d.all() {
			c.listened(now)
		}
		return
	}
	for pool, calls := range w.quiet(now) {
		if w.begin(pool) {
			w.asking.Go(func() {
				defer w.end(pool)
				w.d.ask(ctx, pool, calls)
			})
		}
	}
}

// begin reports whether the pool's dispatcher may be asked: one that hangs is asked
// once, and delays nobody who is asked about another pool.
func (w *watch) begin(pool string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy[pool] {
		return false
	}
	w.busy[pool] = true
	return true
}

func (w *watch) end(pool string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, pool)
}

// quiet are the calls to ask after, by pool and id.
func (w *watch) quiet(now time.Time) map[string]map[string]*call {
	out := map[string]map[string]*call{}
	for _, c := range w.d.all() {
		id, ask := c.quiet(now)
		if !ask {
			continue
		}
		if out[c.pool] == nil {
			out[c.pool] = map[string]*call{}
		}
		if n := len(out[c.pool]); n < askAtOnce || c.shows && n < 2*askAtOnce {
			out[c.pool][id] = c
		}
	}
	return out
}

// listened counts the silence from now on.
func (c *call) listened(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = now
}

// quiet reports the call's id and whether it is to be asked after. What began and
// went silent ends here, and what nobody is there to end.
func (c *call) quiet(now time.Time) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	silence := now.Sub(c.heard)
	beat := c.desk.cfg.Beat
	if c.over || c.publishing || silence < quietBeats*beat {
		return "", false
	}
	lost := silence >= lostBeats*beat
	switch {
	case c.begun && !lost:
		return "", false
	case c.begun:
		c.failLocked(scheduler.Problemf(scheduler.CodeAnswerLost, "the worker that served this answer is gone; please try again"))
		return "", false
	case !c.pastLocked(overdue):
		return c.id, true
	case c.worker == "":
		c.failLocked(scheduler.Overdue(now.Sub(c.sub.Entry.AcceptedAt)))
		return "", false
	case lost: // neither its worker nor a dispatcher said anything
		c.failLocked(scheduler.Problemf(scheduler.CodeAnswerLost, "the worker that had this request is gone, and nobody gave it to another; please try again"))
		return "", false
	default:
		return c.id, true
	}
}

func (d *Desk) ask(ctx context.Context, pool string, calls map[string]*call) {
	ids := make([]string, 0, len(calls))
	for id := range calls {
		ids = append(ids, id)
	}
	ctx, cancel := context.WithTimeout(ctx, 4*d.cfg.Beat)
	defer cancel()
	notices, err := d.cfg.Bus.Dispatcher(pool).Where(ctx, ids)
	if err != nil {
		return // no leader now: the next one is asked
	}
	for _, n := range notices {
		if c := calls[n.ID]; c != nil {
			delete(calls, n.ID)
			c.notice(n)
		}
	}
	for id, c := range calls {
		c.missed(id)
	}
}

// missed publishes a call again that the dispatcher does not know.
func (c *call) missed(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.begun || c.publishing || c.id != id {
		return
	}
	if c.unknown++; c.unknown >= giveUp {
		c.againLocked("the dispatcher does not know it")
	}
}
