package calls

import (
	"context"
	"log/slog"
	"time"

	"fairlane/scheduler"
)

const (
	quietBeats = 3 // beats without news after which a call is asked after
	lostBeats  = 6 // beats without news after which an answer that began is given up
	giveUp     = 2 // answers "unknown" in a row after which a call is published again
	askAtOnce  = 1024
	// overdue is how long after its deadline a call ends here if no dispatcher
	// is there to end it.
	overdue = 3 * time.Second
)

func (d *Desk) beat(ctx context.Context, done chan struct{}) {
	defer close(done)
	timer := time.NewTimer(d.cfg.Beat)
	defer timer.Stop()
	for {
		for pool := range d.cfg.Streams {
			d.say(ctx, pool)
		}
		d.askAfterQuiet(ctx)
		timer.Reset(d.untilBeat())
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// untilBeat is short at the start: whoever waits for this proxy to be ready waits
// for its first beat to be heard.
func (d *Desk) untilBeat() time.Duration {
	if d.Unled() != "" {
		return d.cfg.Beat / 10
	}
	return d.cfg.Beat
}

// say tells one dispatcher that this proxy is alive.
func (d *Desk) say(ctx context.Context, pool string) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Beat)
	defer cancel()
	if err := d.cfg.Bus.Dispatcher(pool).ProxyBeat(ctx, d.cfg.ID, false); err != nil {
		d.cfg.Logger.DebugContext(ctx, "no dispatcher heard the beat", slog.String("pool", pool), slog.Any("error", err))
		return
	}
	d.heard(pool)
}

// askAfterQuiet looks for calls of which nothing was heard for too long.
func (d *Desk) askAfterQuiet(ctx context.Context) {
	now := time.Now()
	quiet := map[string]map[string]*call{}
	for _, c := range d.all() {
		id, ask := c.quiet(now)
		if !ask {
			continue
		}
		pool := c.sub.Entry.Pool
		if quiet[pool] == nil {
			quiet[pool] = map[string]*call{}
		}
		if len(quiet[pool]) < askAtOnce {
			quiet[pool][id] = c
		}
	}
	for pool, calls := range quiet {
		d.ask(ctx, pool, calls)
	}
}

// quiet reports the call's id and whether it is to be asked after. An answer
// that began and went silent ends here.
func (c *call) quiet(now time.Time) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	silence := now.Sub(c.heard)
	beat := c.desk.cfg.Beat
	switch {
	case c.over || c.publishing || silence < quietBeats*beat:
		return "", false
	case c.begun && silence >= lostBeats*beat:
		c.failLocked(scheduler.Problemf(scheduler.CodeAnswerLost, "the worker that served this answer is gone; please try again"))
		return "", false
	case c.begun:
		return "", false
	case c.worker == "" && c.pastLocked(overdue):
		p := scheduler.Problemf(scheduler.CodeQueueTimeout, "the request waited past its deadline; please try again later")
		p.NoRetry = true
		c.failLocked(p)
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
