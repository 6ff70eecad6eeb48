package policy

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

// Output is how long the answers of a user are, in tokens of one sequence.
type Output struct {
	Mean float64
	High float64 // nine in ten are shorter
}

// Outputs learn how long the answers of users are. They hold two generations: who
// did not ask while a whole one filled is forgotten, so memory is bounded. They are
// safe for concurrent use.
type Outputs struct {
	mu       sync.Mutex
	now, old map[string]Output
}

// NewOutputs makes them knowing nothing.
func NewOutputs() *Outputs { return &Outputs{now: map[string]Output{}} }

// Of is how long a user's answers are.
func (o *Outputs) Of(user string) Output {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ofLocked(user)
}

func (o *Outputs) ofLocked(user string) Output {
	if e, ok := o.now[user]; ok {
		return e
	}
	if e, ok := o.old[user]; ok {
		return e
	}
	return Output{Mean: firstMean, High: firstHigh}
}

// Learn takes what an answer had. The high figure goes up nine times as far as it
// goes down, and so comes to rest where nine in ten answers are below it.
func (o *Outputs) Learn(user string, sequences int, u scheduler.Usage) {
	if !u.Known || u.Output <= 0 {
		return
	}
	n := float64(u.Output) / float64(max(1, sequences))
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.ofLocked(user)
	e.Mean += outputStep * (n - e.Mean)
	if n > e.High {
		e.High = min(n, e.High*(1+highStep*highPart))
	} else {
		e.High = max(n, e.High*(1-highStep*(1-highPart)))
	}
	if len(o.now) >= mostOutputs {
		o.now, o.old = map[string]Output{}, o.now
	}
	o.now[user] = e
}

// AtLeast is what is expected of answers that will not be shorter.
func (e Output) AtLeast(tokens int) Output {
	return Output{Mean: max(e.Mean, float64(tokens)), High: max(e.High, float64(tokens))}
}

// Reserve is the output that is reserved for a request, of all its sequences: what
// nine in ten answers of the user do not exceed, and never more than it may have.
func (e Output) Reserve(endpoint openai.Endpoint, maxTokens, sequences int) int {
	if !endpoint.Generates() {
		return 0
	}
	n := int(e.High)
	if maxTokens > 0 {
		n = min(n, maxTokens)
	}
	return n * sequences
}
