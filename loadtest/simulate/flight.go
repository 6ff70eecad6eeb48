package simulate

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/gpumodel"
	"fairlane/scheduler/turn"
)

// stepped takes what happened in a step.
func (p *play) stepped(m *machine) {
	m.busy = false
	for i := range m.events {
		ev := &m.events[i]
		switch {
		case ev.Kind == gpumodel.Scheduled:
			if j := m.jobs[ev.ID]; j != nil { // else its client hung up
				j.cached += ev.Cached
			}
		case ev.Kind == gpumodel.Token && ev.Generated == 1:
			if j := m.jobs[ev.ID]; j != nil && !j.run.First {
				p.d.FirstToken(p.time(), &j.run, p.time().Sub(j.run.At))
				p.m.first(p.now, j)
			}
		case ev.Kind == gpumodel.Finished:
			p.finished(m, ev.ID)
		}
	}
}

func (p *play) finished(m *machine, id uint64) {
	j := m.jobs[id]
	delete(m.jobs, id)
	if j == nil { // its client hung up
		return
	}
	if j.left--; j.left > 0 {
		return
	}
	out := j.want.output * j.want.sequences
	if !turn.Generates(j.want.endpoint) {
		out = 0
	}
	u := scheduler.Usage{Input: j.want.input, Cached: min(j.cached, j.want.input), Output: out, Known: true, CachedKnown: true}
	now := p.time()
	p.delivered(j, p.d.Settle(now, &j.req, &j.run, u, true))
	p.drain.Completed()
	p.d.Learn(now, &j.entry, &j.run, u)
	p.edge.settle(j.taken, &u)
	if j.who.id != nil {
		p.edge.outputs.Learn(j.who.id.UserKey, j.want.sequences, u)
	}
	p.m.completed(p.now, j, u)
	p.landed(j)
	p.done(j)
}

// progress charges what answers in flight have generated.
func (p *play) progress() {
	now := p.time()
	for _, j := range p.flying {
		n := j.machine.generated(j)
		if !j.want.stream {
			n = p.d.Unseen(now, &j.entry, &j.run)
		}
		if n > j.run.Generated {
			j.run.Generated = n
			p.delivered(j, p.d.Progress(now, &j.req, &j.run))
		}
	}
}

// weigh looks at how loaded the pool is, which limits may follow.
func (p *play) weigh() {
	var sum time.Duration
	n := 0
	for _, who := range p.busy {
		if p.short && who.waiting > 0 {
			sum, n = sum+p.now-who.turn, n+1
		}
	}
	marks := p.s.Load
	if marks == (turn.Marks{}) {
		marks = turn.DefaultMarks()
	}
	p.load.Tick(p.time(), marks, turn.Reading{KV: p.d.KVUse(), Wait: sum / time.Duration(max(n, 1)), Short: p.short})
}

// observe sees the backends' metrics, and what everybody had of the last second.
func (p *play) observe() {
	now := p.time()
	kv, running := 0.0, 0
	for _, m := range p.machines {
		s := m.sample(now, &p.profile)
		m.backend.Observe(now, s)
		kv, running = kv+s.KVUsage/float64(len(p.machines)), running+s.Running
	}
	p.m.second(p.now, p.busy, &p.tree, Point{KV: kv, Running: running, Waiting: p.d.Queue.Len()})
}
