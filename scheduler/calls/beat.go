package calls

import (
	"context"
	"log/slog"
	"time"
)

// beat tells one dispatcher, again and again, that this proxy is alive. One that
// hangs delays no other's beat.
func (d *Desk) beat(ctx context.Context, pool string) {
	timer := time.NewTimer(d.cfg.Beat)
	defer timer.Stop()
	for {
		d.say(ctx, pool)
		timer.Reset(d.untilBeat(pool))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
	}
}

// untilBeat is short at the start: whoever waits for this proxy to be ready waits
// for its first beat to be heard.
func (d *Desk) untilBeat(pool string) time.Duration {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if !d.led[pool] {
		return d.cfg.Beat / 10
	}
	return d.cfg.Beat
}

func (d *Desk) say(ctx context.Context, pool string) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Beat)
	defer cancel()
	if err := d.cfg.Bus.Dispatcher(pool).ProxyBeat(ctx, d.cfg.ID, false); err != nil {
		d.cfg.Logger.DebugContext(ctx, "no dispatcher heard the beat", slog.String("pool", pool), slog.Any("error", err))
		return
	}
	d.heard(pool)
}
