package vllmsim

import (
	"context"
	"sync"
	"time"

	"fairlane/scheduler/gpumodel"
)

// maxLag is how far the engine's time may fall behind the real one, so that steps
// shorter than a timer's grain keep their rate. What is later than that is lost.
const maxLag = 50 * time.Millisecond

// place is where an engine's sequence belongs.
type place struct {
	job   *job
	index int
}

// loop is the goroutine that owns the engine, and how to talk to it.
type loop struct {
	cfg     gpumodel.Config
	speed   float64
	metrics *metrics
	onDeath func() // called in a goroutine of its own when the engine runs out of memory

	start   sync.Once
	stop    sync.Once
	quit    chan struct{}
	inbox   chan func()
	running sync.WaitGroup

	mu    sync.Mutex
	stats gpumodel.Stats
	alive bool

	// The goroutine's alone.
	engine *gpumodel.Engine
	places map[uint64]place
	lastID uint64
	end    time.Time     // of the present step
	step   gpumodel.Step // the present step; Took 0: idle
}

func newLoop(cfg gpumodel.Config, speed float64, m *metrics) (*loop, error) {
	e, err := gpumodel.New(cfg)
	if err != nil {
		return nil, err
	}
	l := &loop{
		cfg: cfg, speed: speed, metrics: m, quit: make(chan struct{}), inbox: make(chan func()),
		alive: true, engine: e, places: make(map[uint64]place),
	}
	l.stats = e.Stats()
	return l, nil
}

// do runs f in the loop's goroutine and waits for it. It does nothing if the loop has
// stopped.
func (l *loop) do(f func()) {
	l.start.Do(func() { l.running.Go(l.run) })
	done := make(chan struct{})
	select {
	case l.inbox <- func() { f(); close(done) }:
		<-done
	case <-l.quit:
	}
}

func (l *loop) close() {
	l.stop.Do(func() { close(l.quit) })
	l.start.Do(func() {}) // it never runs, if it has not yet
	l.running.Wait()
}

func (l *loop) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var due <-chan time.Time
		if l.begin() {
			timer.Reset(time.Until(l.end))
			due = timer.C
		}
		for idle := false; !idle; {
			select {
			case f := <-l.inbox:
				f()
				idle = due == nil
			case <-due:
				l.deliver(time.Now())
				idle = true
			case <-l.quit:
				l.failAll(errStopped)
				return
			}
		}
	}
}

// begin starts a step if there is something to do.
func (l *loop) begin() bool {
	wasIdle := l.step.Took == 0
	l.step = l.engine.Step()
	if l.step.Dead {
		l.die()
		return false
	}
	l.publish()
	if l.step.Took == 0 {
		return false
	}
	now := time.Now()
	from := l.end
	if wasIdle || now.Sub(from) > maxLag {
		from = now
	}
	l.end = from.Add(time.Duration(float64(l.step.Took) / l.speed))
	l.started(now)
	return true
}

// started notes what left the queue, as it does when a step begins.
func (l *loop) started(now time.Time) {
	for _, ev := range l.step.Events {
		if p, ok := l.places[ev.ID]; ok && ev.Kind == gpumodel.Scheduled {
			s := &p.job.seqs[p.index]
			if s.scheduled.IsZero() {
				s.scheduled = now
				l.metrics.scheduled(s, ev.Cached)
			}
		}
	}
}

// deliver tells the jobs what the step that is over has done.
func (l *loop) deliver(now time.Time) {
	l.metrics.step(l.step)
	for i, ev := range l.step.Events {
		p, ok := l.places[ev.ID]
		if !ok {
			continue // aborted while the step ran
		}
		s := &p.job.seqs[p.index]
		switch ev.Kind {
		case gpumodel.Token:
			l.metrics.token(s, now)
			if i+1 < len(l.step.Events) && l.step.Events[i+1].ID == ev.ID {
				continue // the last token and the end are one piece of news
			}
		case gpumodel.Preempted:
			s.preempted++
		case gpumodel.Finished:
			l.metrics.finished(s, now, ev.Generated)
			delete(l.places, ev.ID)
		case gpumodel.Scheduled: // told when the step began
		}
		p.job.note(p.index, ev)
	}
	l.publish()
}

// publish lets others see the engine's state.
func (l *loop) publish() {
	st := l.engine.Stats()
	l.mu.Lock()
	l.stats = st
	l.mu.Unlock()
}

// state is what the engine does, as of its last step.
func (l *loop) state() (st gpumodel.Stats, alive bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats, l.alive
}

// submit hands a job to the engine: all of its sequences or none. Who submits has to
// follow.
func (l *loop) submit(j *job) error {
	err := errStopped
	l.do(func() { err = l.addAll(j) })
	return err
}

func (l *loop) addAll(j *job) error {
	if _, alive := l.state(); !alive {
		return errEngineDead
	}
	if err := l.engine.Admit(len(j.seqs)); err != nil {
		return err
	}
	now := time.Now()
	for i := range j.seqs {
		s := &j.seqs[i]
		l.lastID++
		s.id, s.arrived = l.lastID, now
		if err := l.engine.Add(s.request()); err != nil {
			l.removeAll(j)
			return err
		}
		l.places[s.id] = place{job: j, index: i}
	}
	l.publish()
	return nil
}

// abort ends a job whose client has gone; what it holds is free at once.
func (l *loop) abort(j *job) { l.do(func() { l.removeAll(j) }) }

func (l *loop) removeAll(j *job) {
	for i := range j.seqs {
		id := j.seqs[i].id
		if _, ok := l.places[id]; ok {
			delete(l.places, id)
			l.engine.Abort(id)
		}
	}
	l.publish()
}

// kill ends the engine and everything it has.
func (l *loop) kill() { l.do(l.markDead) }

// revive starts a new engine, with an empty cache, in place of a dead one.
func (l *loop) revive() error {
	err := errStopped
	l.do(func() {
		var e *gpumodel.Engine
		if e, err = gpumodel.New(l.cfg); err != nil {
			return
		}
		l.engine, l.step = e, gpumodel.Step{}
		l.mu.Lock()
		l.alive = true
		l.mu.Unlock()
		l.publish()
	})
	return err
}

// die is what running out of memory does.
func (l *loop) die() {
	if _, alive := l.state(); !alive {
		return
	}
	l.markDead()
	if l.onDeath != nil {
		l.running.Go(l.onDeath)
	}
}

func (l *loop) markDead() {
	l.mu.Lock()
	l.alive = false
	l.mu.Unlock()
	l.failAll(errEngineDead)
}

func (l *loop) failAll(err error) {
	for id, p := range l.places {
		delete(l.places, id)
		l.engine.Abort(id)
		p.job.fail(err)
	}
}

// follow waits for the end of a job that was submitted and calls each, if there is
// one, with what is new. It aborts the job if the client goes away or each fails.
func (l *loop) follow(ctx context.Context, j *job, each func([]update) error) (err error) {
	defer func() {
		if err != nil {
			l.abort(j)
		}
	}()
	var buf []update
	for over := false; !over; {
		buf, over, err = j.next(ctx, buf[:0])
		if err != nil {
			return err
		}
		if each != nil {
			if err := each(buf); err != nil {
				return err
			}
		}
	}
	return nil
}
