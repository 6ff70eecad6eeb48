package dispatcher

import (
	"log/slog"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
)

const (
	missedBeats = 3 // in a row until a worker or a proxy counts as dead
	// numberGap lies between the grants of a predecessor that may still be under
	// way and ours, so that a beat which tells of one is not taken for the other.
	numberGap = 1 << 16
)

// workerState is one worker as its beats show it.
type workerState struct {
	id        string
	at        scheduler.Worker
	started   time.Time
	lastBeat  time.Time
	draining  bool
	shunUntil time.Time
	granted   uint64           // number of the last grant given to it
	running   map[string]*item // ours
	backends  map[string]scheduler.BackendStatus
}

// shun gives a worker that did not take a grant no other for a moment.
func (w *workerState) shun(now time.Time) { w.shunUntil = now.Add(200 * time.Millisecond) }

// beat takes a worker's heartbeat.
func (l *leader) beat(id string, b *scheduler.Beat, now time.Time) {
	w := l.workers[id]
	switch {
	case w != nil && b.Started.Before(w.started):
		return // it was under way while the worker was started anew
	case w != nil && !w.started.Equal(b.Started):
		l.dropWorker(id)
		w = nil
	}
	if w == nil {
		w = &workerState{id: id, at: l.cfg.Bus.Worker(id), started: b.Started, granted: b.LastGrant + numberGap, running: map[string]*item{}}
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
		if !listed[id] && it.run.number <= b.LastGrant && it.run.taken.Load() {
			l.vanished(it)
		}
	}
}

// vanished ends a request whose end was told to an earlier leader, which counted
// it; all that is left is the entry. What it cost is still owed here.
func (l *leader) vanished(it *item) {
	u := it.run.Spent()
	it.ended = it.run.fence
	l.turn.Settle(time.Now(), &it.req, &it.run.Run, u, false)
	l.ran(it)
	l.forget(it)
}

// lost ends a request whose worker went away after the first byte: its proxy
// notices the silence. If only we did not hear the worker, it runs on and pays
// later for the rest.
func (l *leader) lost(it *item) {
	id, u := it.entry.ID, it.run.Spent()
	l.receipts.over(it, string(scheduler.Lost))
	l.settle(it, u, false)
	l.forget(it)
	l.over.add(id, tombstone{at: time.Now(), paid: &u})
}

// missWorkers gives up workers that did not beat.
func (l *leader) missWorkers(now time.Time) {
	for id, w := range l.workers {
		if now.Sub(w.lastBeat) > missedBeats*l.cfg.Beat+tick {
			l.cfg.Logger.Warn("a worker is gone", slog.String("pool", l.cfg.Pool), slog.String("worker", id), slog.Int("running", len(w.running)))
			l.dropWorker(id)
			l.backends(now)
		}
	}
}

// dropWorker gives what a worker ran to others. What had begun is fenced by its
// proxy: the new attempt will be told that it is stale.
func (l *leader) dropWorker(id string) {
	w := l.workers[id]
	if w == nil {
		return
	}
	delete(l.workers, id)
	for _, it := range w.running {
		if it.run.First {
			l.lost(it)
			continue
		}
		l.repeat(it, reasonWorker, reasonWorker, nil)
	}
}

// workerFor is the one with the fewest attempts among those that see the
// backend up; nil: none does.
func (l *leader) workerFor(backend string, now time.Time) *workerState {
	var best *workerState
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
	for _, b := range l.turn.Pool.Backends() {
		up, newest := l.seen(b.URL())
		if up {
			b.Up(now)
		} else {
			b.Down(now)
		}
		if newest != nil {
			s := sample(newest)
			b.Observe(now, s)
			l.countPreemptions(b.URL(), s)
		}
		anyUp = anyUp || up
	}
	switch {
	case anyUp:
		if !l.noneUp.IsZero() {
			l.noneUp, l.upAgain = time.Time{}, now
		}
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

// countPreemptions counts what a backend's counter grew by. It begins again at 0
// with the backend, and what was before us is not counted.
func (l *leader) countPreemptions(url string, s capacity.Sample) {
	last, known := l.preempted[url]
	switch {
	case known && !s.At.After(last.At):
		return
	case !known:
		l.cfg.Metrics.preemptions(l.cfg.Pool, url, 0)
	case s.Preemptions >= last.Preemptions:
		l.cfg.Metrics.preemptions(l.cfg.Pool, url, s.Preemptions-last.Preemptions)
	default:
		l.cfg.Metrics.preemptions(l.cfg.Pool, url, s.Preemptions)
	}
	l.preempted[url] = s
}

func sample(s *scheduler.Scrape) capacity.Sample {
	return capacity.Sample{
		At: s.At, Running: s.Running, Waiting: s.Waiting, KVUsage: s.KVUsage, Preemptions: s.Preemptions,
		KVTokens: s.KVTokens, BlockSize: s.BlockSize, PrefixCache: s.PrefixCache,
	}
}
