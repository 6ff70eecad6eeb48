package dispatcher

import (
	"context"
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
)

const missedBeats = 3 // in a row until a worker or a proxy counts as dead

// workerState is one worker as its beats show it.
type workerState struct {
	id        string
	started   time.Time
	lastBeat  time.Time
	draining  bool
	shunUntil time.Time
	granted   uint64           // grants given to it, by number
	running   map[string]*item // ours
	backends  map[string]scheduler.BackendStatus
}

// shun gives a worker that did not take a grant no other for a moment.
func (w *workerState) shun(now time.Time) { w.shunUntil = now.Add(200 * time.Millisecond) }

// elsewhere is a request without a known attempt, and its place in the stream.
type elsewhere struct {
	seq uint64
	at  time.Time
}

func (l *leader) sweepElsewhere(now time.Time) {
	for id, e := range l.elsewhere {
		if now.Sub(e.at) > remembered {
			delete(l.elsewhere, id)
			l.cfg.Stream.Delete(e.seq)
		}
	}
}

// beat takes a worker's heartbeat.
func (l *leader) beat(id string, b *scheduler.Beat, now time.Time) {
	w := l.workers[id]
	if w != nil && !w.started.Equal(b.Started) { // the same id, started anew
		l.dropWorker(id, "worker")
		w = nil
	}
	if w == nil {
		w = &workerState{id: id, started: b.Started, granted: b.LastGrant, running: map[string]*item{}}
		l.workers[id] = w
	}
	w.lastBeat, w.draining = now, b.Draining
	w.backends = make(map[string]scheduler.BackendStatus, len(b.Backends))
	for _, s := range b.Backends {
		w.backends[s.URL] = s
	}
	l.reconcile(w, b, now)
	l.backends(now)
}

// reconcile holds what the worker runs against what we think that it runs.
func (l *leader) reconcile(w *workerState, b *scheduler.Beat, now time.Time) {
	listed := make(map[string]bool, len(b.Running))
	for i := range b.Running {
		r := &b.Running[i]
		listed[r.Grant.Entry.ID] = l.recognise(w, r, now) || listed[r.Grant.Entry.ID]
	}
	for id, it := range w.running {
		if !listed[id] && it.run.number <= b.LastGrant {
			l.lost(it)
		}
	}
}

// recognise reports whether a running attempt is the one we know. An older one
// is cancelled, an unknown one adopted.
func (l *leader) recognise(w *workerState, r *scheduler.Running, now time.Time) bool {
	g := &r.Grant
	it := l.items[g.Entry.ID]
	switch {
	case it != nil && it.run != nil && it.run.fence == g.Fence:
		it.run.sent = it.run.sent || r.Sent
		return true
	case it != nil && it.run != nil && it.run.fence.Newer(g.Fence):
		l.cancelAttempt(w.id, g.Entry.ID, g.Fence)
		return false
	case l.over.has(g.Entry.ID):
		return false
	default:
		l.adopt(w, r, now)
		return true
	}
}

// adopt takes over an attempt that runs already.
func (l *leader) adopt(w *workerState, r *scheduler.Running, now time.Time) {
	e := r.Grant.Entry
	backend := l.capacity.Backend(r.Grant.Backend)
	if backend == nil {
		return // of a backend that was removed: it ends without us
	}
	it := l.items[e.ID]
	if it == nil {
		it = &item{entry: &e, seq: l.elsewhere[e.ID].seq}
		delete(l.elsewhere, e.ID)
		l.items[e.ID] = it
	} else {
		l.leaveQueue(it, "granted")
	}
	in := l.estimate.input(&e)
	it.req = requestOf(it, in, l.weights())
	l.queue.Adopt(&it.req, l.path(&e), userOf(&e), r.Grant.Weights, r.Grant.Charged)
	a := &attempt{
		fence: r.Grant.Fence, number: r.Grant.Number, worker: w, backend: backend,
		hold: backend.Take(now, l.demand(it, in)), input: in, grantedAt: now,
		sent: r.Sent, first: r.FirstByte, generated: r.Generated,
	}
	if r.FirstByte {
		a.hold.FirstToken(now)
	}
	l.runs(it, a)
	w.granted = max(w.granted, r.Grant.Number)
}

func (l *leader) cancelAttempt(worker, id string, f scheduler.Fence) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := l.cfg.Bus.Worker(worker).Cancel(ctx, id, f); err != nil {
			l.cfg.Logger.Debug("cancel of an old attempt failed", slog.Any("error", err)) // its next beat is another chance
		}
	}()
}

// missWorkers gives up workers that did not beat.
func (l *leader) missWorkers(now time.Time) {
	for id, w := range l.workers {
		if now.Sub(w.lastBeat) > missedBeats*l.cfg.Beat+tick {
			l.cfg.Logger.Warn("a worker is gone", slog.String("worker", id), slog.Int("running", len(w.running)))
			l.dropWorker(id, "worker")
			l.backends(now)
		}
	}
}

// dropWorker gives what a worker ran to others. What had begun is fenced by its
// proxy: the new attempt will be told that it is stale.
func (l *leader) dropWorker(id, reason string) {
	w := l.workers[id]
	if w == nil {
		return
	}
	delete(l.workers, id)
	for _, it := range w.running {
		if it.run.first {
			l.lost(it)
			continue
		}
		l.repeat(it, reason, nil)
	}
}

// lost ends a request of whose end nothing more will be heard: its worker went
// away after the first byte, and the proxy notices the silence; or its end was
// told to an earlier leader, and all that is left is the entry.
func (l *leader) lost(it *item) {
	l.settle(it, scheduler.Usage{Input: it.run.input.Tokens, Cached: it.run.input.Cached, Output: it.run.generated}, false)
	l.forget(it)
}

// missProxies removes what waits for proxies that did not beat: with a proxy
// its clients are gone, and their ghosts would count in bounds and waits.
func (l *leader) missProxies(now time.Time) {
	for id, at := range l.proxies {
		if now.Sub(at) > missedBeats*l.cfg.Beat+2*tick {
			l.cfg.Logger.Warn("a proxy is gone", slog.String("proxy", id))
			l.dropProxy(id)
		}
	}
}

func (l *leader) dropProxy(id string) {
	delete(l.proxies, id)
	delete(l.notices, id)
	for _, it := range l.items {
		if it.entry.Proxy == id && it.entry.Mode == scheduler.ModeSync && it.queued() {
			l.leaveQueue(it, "cancelled")
			l.forget(it)
		}
	}
}

// workerFor is the one with the fewest attempts among those that see the
// backend up; nil: none does.
func (l *leader) workerFor(backend string) *workerState {
	var best *workerState
	now := time.Now()
	for _, w := range l.workers {
		if w.draining || !w.backends[backend].Up || now.Before(w.shunUntil) {
			continue
		}
		if best == nil || len(w.running) < len(best.running) || len(w.running) == len(best.running) && w.id < best.id {
			best = w
		}
	}
	return best
}

// backends joins what all workers see: a backend is up if somebody who takes
// grants reaches it.
func (l *leader) backends(now time.Time) {
	anyUp := false
	for _, b := range l.capacity.Backends() {
		up, newest := l.seen(b.State().URL)
		if up {
			b.Up(now)
		} else {
			b.Down(now)
		}
		if newest != nil {
			b.Observe(now, sample(newest))
		}
		anyUp = anyUp || up
	}
	switch {
	case anyUp:
		l.noneUp = time.Time{}
	case l.noneUp.IsZero():
		l.noneUp = now
	}
}

func (l *leader) seen(url string) (up bool, newest *scheduler.Scrape) {
	for _, w := range l.workers {
		s := w.backends[url]
		up = up || s.Up && !w.draining
		if s.Scrape != nil && (newest == nil || s.Scrape.At.After(newest.At)) {
			newest = s.Scrape
		}
	}
	return up, newest
}

func sample(s *scheduler.Scrape) capacity.Sample {
	return capacity.Sample{
		At: s.At, Running: s.Running, Waiting: s.Waiting, KVUsage: s.KVUsage, Preemptions: s.Preemptions,
		KVTokens: s.KVTokens, BlockSize: s.BlockSize, PrefixCache: s.PrefixCache,
	}
}
