package worker

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"fairlane/scheduler"
)

const (
	pingEvery  = time.Second
	pingStrike = 2 // times in a row nobody answers until the proxy counts as dead
)

// pingProxies looks after the proxies whose calls run here: a dead one has no
// clients, so what runs for it is cancelled. It also keeps silent attempts
// alive in the eyes of their proxies, and one proxy that hangs delays no other's.
func (w *Worker) pingProxies(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	p := pings{w: w, by: map[string]*ping{}}
	defer p.underWay.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.round(ctx)
		}
	}
}

// pings are one for each proxy that has calls here.
type pings struct {
	w        *Worker
	by       map[string]*ping
	underWay sync.WaitGroup
}

func (p *pings) round(ctx context.Context) {
	byProxy := p.w.byProxy()
	maps.DeleteFunc(p.by, func(proxy string, _ *ping) bool { return byProxy[proxy] == nil })
	for proxy, attempts := range byProxy {
		for _, a := range attempts {
			a.keepAlive()
		}
		if p.by[proxy] == nil {
			p.by[proxy] = &ping{proxy: p.w.cfg.Bus.Proxy(proxy)}
		}
		if q := p.by[proxy]; q.busy.CompareAndSwap(false, true) {
			p.underWay.Go(func() { q.ask(ctx, attempts) })
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

// ping is what is known of one proxy. The strikes belong to the question that is
// under way.
type ping struct {
	proxy   scheduler.Proxy
	busy    atomic.Bool
	strikes int
}

func (p *ping) ask(ctx context.Context, attempts []*attempt) {
	defer p.busy.Store(false)
	ctx, cancel := context.WithTimeout(ctx, pingEvery)
	defer cancel()
	if !errors.Is(p.proxy.Ping(ctx), scheduler.ErrNoResponder) {
		p.strikes = 0
		return
	}
	if p.strikes++; p.strikes >= pingStrike {
		for _, a := range attempts {
			a.cancel(errClientGone)
		}
	}
}
