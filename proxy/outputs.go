package proxy

import (
	"sync"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

const (
	firstMean   = 300.0  // tokens of an answer, until a user has shown their own
	firstHigh   = 1000.0 // that nine in ten answers do not exceed
	outputStep  = 0.1    // weight of one answer in the mean
	highStep    = 0.2    // of the high figure, by which one answer moves it at most
	highPart    = 0.9    // of answers that are below it
	mostOutputs = 10_000 // users of a generation
)

// output is how long the answers of a user are, in tokens of one sequence.
type output struct {
	mean float64
	high float64 // nine in ten are shorter
}

// outputs learn how long the answers of users are. They hold two generations: who
// did not ask while a whole one filled is forgotten, so memory is bounded.
type outputs struct {
	mu       sync.Mutex
	now, old map[string]output
}

func newOutputs() *outputs { return &outputs{now: map[string]output{}} }

func (o *outputs) of(user string) output {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ofLocked(user)
}

func (o *outputs) ofLocked(user string) output {
	if e, ok := o.now[user]; ok {
		return e
	}
	if e, ok := o.old[user]; ok {
		return e
	}
	return output{mean: firstMean, high: firstHigh}
}

// learn takes what an answer had. The high figure goes up nine times as far as it
// goes down, and so comes to rest where nine in ten answers are below it.
func (o *outputs) learn(user string, sequences int, u scheduler.Usage) {
	if !u.Known || u.Output <= 0 {
		return
	}
	n := float64(u.Output) / float64(max(1, sequences))
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.ofLocked(user)
	e.mean += outputStep * (n - e.mean)
	if n > e.high {
		e.high = min(n, e.high*(1+highStep*highPart))
	} else {
		e.high = max(n, e.high*(1-highStep*(1-highPart)))
	}
	if len(o.now) >= mostOutputs {
		o.now, o.old = map[string]output{}, o.now
	}
	o.now[user] = e
}

// reserve is the output that is reserved for a request, of all its sequences: what
// nine in ten answers of the user do not exceed, and never more than it may have.
func (e output) reserve(r *openai.Request) int {
	if !r.Endpoint.Generates() {
		return 0
	}
	n := int(e.high)
	if r.MaxTokens > 0 {
		n = min(n, r.MaxTokens)
	}
	return n * r.Sequences
}
