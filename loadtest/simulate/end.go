package simulate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/turn"
)

// tooLarge is why something is refused that can never run.
const tooLarge = scheduler.Reason(scheduler.CodeRequestTooLarge)

// bound is how long requests may wait, and whether their class sheds.
type bound struct {
	most time.Duration
	shed bool
}

// done counts a request that is over, however it ended.
func (p *play) done(j *job) {
	who := j.who
	if who.busy--; who.busy == 0 {
		last := p.busy[len(p.busy)-1]
		p.busy[who.index], last.index = last, who.index
		p.busy, who.index = p.busy[:len(p.busy)-1], -1
	}
	if j.ticket != 0 {
		delete(p.leavers, j.ticket)
	}
	from, parked := j.from, j.parked
	if !parked {
		who.admitted -= j.want.sequences
	}
	if who.maxWait == 0 && !parked { // else it still stands in a line
		*j = job{}
		p.spare = append(p.spare, j)
	}
	p.unpark(who)
	if from.user != nil {
		p.again(from, from.think())
	}
}

// again lets somebody who works at its own pace ask once more.
func (p *play) again(s *source, after time.Duration) {
	if s.user != nil && s.user.Load.Outstanding > 0 {
		p.agenda.add(p.now+max(after, 0), arrives, s.index)
	}
}

// unpark lets the queue have what it may of somebody's.
func (p *play) unpark(who *person) {
	for len(who.parked) > 0 {
		j := who.parked[0]
		if !j.over && !who.mayQueue(j.want.sequences) {
			return
		}
		who.parked = who.parked[1:]
		if !j.over {
			p.queue(j)
		}
	}
}

// unqueue takes a request out that will not run. Nothing of it was used.
func (p *play) unqueue(j *job) {
	p.waited(j)
	if !j.parked {
		p.d.Remove(p.time(), &j.req, nil)
	}
	j.over = true
	p.edge.settle(j.taken, &scheduler.Usage{})
}

// refuse ends one that waits.
func (p *play) refuse(j *job, why scheduler.Reason) {
	p.unqueue(j)
	p.m.refused(p.now, j.who, why)
	p.done(j)
}

// expire ends what waited for too long, and what is shed.
func (p *play) expire() {
	keys := slices.SortedFunc(maps.Keys(p.waits), func(a, b bound) int { return cmp.Compare(a.most, b.most) })
	for _, k := range keys {
		line, n := p.waits[k], 0
		for n < len(line) && (line[n].over || p.late(k, line[n])) {
			line[n] = nil
			n++
		}
		p.waits[k] = line[n:]
	}
}

// late ends a request that waited for too long; false: it may go on.
func (p *play) late(k bound, j *job) bool {
	switch took := p.now - j.at; {
	case took >= k.most:
		p.unqueue(j)
		p.m.expired(p.now, j.who)
		p.done(j)
	case k.shed && p.short && took >= turn.Patience(&j.entry):
		p.refuse(j, scheduler.ReasonShed)
	default:
		return false
	}
	return true
}

// leave lets somebody hang up who has not seen a first token. Who has been sent to an
// engine pays for its whole prompt.
func (p *play) leave(ticket int) {
	j := p.leavers[ticket]
	switch {
	case j == nil || j.run.First:
		return
	case !j.over:
		p.unqueue(j)
	case j.coming: // the engine is told after it has the request
		p.agenda.add(p.now+p.profile.APIOverhead, leaves, ticket)
		return
	default:
		p.abort(j)
	}
	p.m.hungUp(p.now, j.who)
	p.done(j)
}

// abort ends a request that runs.
func (p *play) abort(j *job) {
	j.run.Generated = j.machine.generated(j)
	id := j.ids
	for range j.want.sequences {
		j.machine.engine.Abort(id)
		delete(j.machine.jobs, id)
		id++
	}
	p.delivered(j, p.d.Settle(p.time(), &j.req, &j.run, j.run.Spent(), false))
	p.landed(j)
}

// landed takes a request from those in flight.
func (p *play) landed(j *job) {
	last := p.flying[len(p.flying)-1]
	p.flying[j.index], last.index = last, j.index
	p.flying = p.flying[:len(p.flying)-1]
}
