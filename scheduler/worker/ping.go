package worker

import (
	"context"
	"errors"
	"time"

	"fairlane/scheduler"
)

const (
	pingEvery  = time.Second
	pingStrike = 2 // times in a row nobody answers until the proxy counts as dead
)

// pingProxies looks after the proxies whose calls run here: a dead one has no
// clients, so what runs for it is cancelled. It also keeps silent attempts
// alive in the eyes of their proxies.
func (w *Worker) pingProxies(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	strikes := map[string]int{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		byProxy := w.byProxy()
		for proxy := range strikes {
			if byProxy[proxy] == nil {
				delete(strikes, proxy)
			}
		}
		for proxy, attempts := range byProxy {
			if w.proxyDead(ctx, proxy, strikes) {
				for _, a := range attempts {
					a.cancel(errClientGone)
				}
				continue
			}
			for _, a := range attempts {
				a.keepAlive()
			}
		}
	}
}

func (w *Worker) byProxy() map[string][]*attempt {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string][]*attempt{}
	for _, a := range w.attempts {
		if !a.over.Load() {
			out[a.grant.Entry.Proxy] = append(out[a.grant.Entry.Proxy], a)
		}
	}
	return out
}

func (w *Worker) proxyDead(ctx context.Context, proxy string, strikes map[string]int) bool {
	ctx, cancel := context.WithTimeout(ctx, pingEvery)
	defer cancel()
	err := w.cfg.Bus.Proxy(proxy).Ping(ctx)
	if !errors.Is(err, scheduler.ErrNoResponder) {
		strikes[proxy] = 0
		return false
	}
	strikes[proxy]++
	return strikes[proxy] >= pingStrike
}
