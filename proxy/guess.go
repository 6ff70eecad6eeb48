package proxy

import (
	"context"
	"time"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

const (
	fewTokens = 16 // of an answer, from which nothing is learned of how long a token takes
	paceRate  = 0.05
)

// counted is the usage of a call of whose end the backend said nothing: the whole
// prompt, which was read for it, and what was generated. Of a stream that was seen
// here. Of anything else it is what fits into the time that it took, and in the
// buckets never less than what was reserved: else who leaves before the answer
// would have the model for nothing.
func (f *follower) counted() {
	r := &f.x.rec
	if r.granted.IsZero() || r.usage != (scheduler.Usage{}) {
		return
	}
	r.counted = true
	r.usage = scheduler.Usage{Input: f.x.s.estimates.input(f.x.at.model, f.x.req), Output: f.out.meter.tokens}
	if !f.x.req.Stream && f.x.route.Endpoint.Generates() {
		r.guessed, r.usage.Output = true, f.x.fits(time.Since(r.granted))
	}
}

// rest takes what came for a client that is gone: it was generated all the same, and the
// usage may be among it.
func (f *follower) rest() {
	over, cancel := context.WithCancel(f.ctx)
	cancel() // what is there is there
	for {
		ev, err := f.call.Next(over)
		switch {
		case err != nil:
			return
		case ev.Kind == scheduler.CallQueued:
			f.x.rec.granted = time.Time{}
		case ev.Kind == scheduler.CallGranted && f.x.rec.granted.IsZero():
			f.x.rec.granted = time.Now()
		case ev.Kind == scheduler.CallData && f.x.req.Stream:
			f.out.meter.tokens += openai.Contents(f.x.route.Endpoint, ev.Data)
		case ev.End != nil:
			f.ended(ev.End)
		}
	}
}

// fits is how many tokens an answer has after so long, of all its sequences; 0: nothing
// is known of the model's pace.
func (x *exchange) fits(took time.Duration) int {
	pace := x.s.estimates.pace(x.at.model)
	if pace <= 0 {
		return 0
	}
	n := int(took / pace)
	if x.req.MaxTokens > 0 {
		n = min(n, x.req.MaxTokens)
	}
	return n * x.req.Sequences
}

// paced learns the model's pace of an answer that is whole.
func (x *exchange) paced(u scheduler.Usage) {
	r := &x.rec
	from, tokens := r.granted, u.Output/max(1, x.req.Sequences)
	if !r.first.IsZero() {
		from = r.first
	}
	if u.Known && tokens >= fewTokens && !from.IsZero() {
		x.s.estimates.learnPace(x.at.model, time.Since(from)/time.Duration(tokens))
	}
}

// pace is how long a token of an answer takes; 0: nothing is known of it.
func (e *estimates) pace(model string) time.Duration {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.paces[model]
}

func (e *estimates) learnPace(model string, seen time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	old, known := e.paces[model]
	switch {
	case known:
		e.paces[model] = old + time.Duration(paceRate*float64(seen-old))
	case len(e.paces) < mostModels:
		e.paces[model] = seen
	}
}
