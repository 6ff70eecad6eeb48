package simulate

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"fairlane/scheduler/arrivals"
)

// want is a request before it is one.
type want struct {
	input, cached, output int // of all sequences; output of one
	estimate              int // input as it is estimated before it runs
	maxTokens             int
	sequences             int
	stream                bool
	endpoint              string
	prefix, chat          uint64
	chars                 int           // of the text
	patience              time.Duration // until somebody without a first token hangs up; 0: never
}

// source is where requests come from: one user of a workload, or a record.
type source struct {
	index   int // among the sources
	row     int // of the report
	bounded bool
	user    *User
	key     string
	rand    *rand.Rand
	person  *person // nil with once: each is somebody new
	count   int     // requests so far
	prefix  uint64

	record []arrivals.Arrival
}

func newSources(w *Workload) []*source {
	var out []*source
	for i := range w.Users {
		u := &w.Users[i]
		for n := range max(u.Count, 1) {
			key := u.Name
			if u.Count > 1 {
				key = fmt.Sprintf("%s-%d", u.Name, n+1)
			}
			out = append(out, &source{index: len(out), row: i, bounded: w.Bounded, user: u, key: key, prefix: hashOf(u.Name), rand: rand.New(rand.NewPCG(w.Seed, hashOf(key)))})
		}
	}
	if len(w.Recorded) > 0 {
		record := slices.Clone(w.Recorded)
		slices.SortStableFunc(record, func(a, b arrivals.Arrival) int { return a.At.Compare(b.At) })
		out = append(out, &source{index: len(out), record: record})
	}
	return out
}

func hashOf(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return max(h.Sum64(), 1)
}

// charsPerToken is what text has whose characters nobody counted.
const charsPerToken = 4

// draw is the next request of a described user.
func (s *source) draw() want {
	u := s.user
	w := want{
		input: max(u.Input.tokens(s.rand), 1), output: max(u.Output.tokens(s.rand), 1), sequences: max(u.Sequences, 1),
		maxTokens: u.MaxTokens, stream: !u.Whole, endpoint: orChat(u.Endpoint),
	}
	if u.Cached != nil {
		w.cached, w.prefix = min(u.Cached.tokens(s.rand), w.input-1), s.prefix
	}
	switch {
	case s.bounded:
		w.maxTokens = w.output
	case w.maxTokens > 0:
		w.output = min(w.output, w.maxTokens)
	}
	w.input *= w.sequences
	w.estimate, w.chars = w.input, w.input*charsPerToken
	if u.Patience != nil {
		w.patience = time.Duration(u.Patience.draw(s.rand) * float64(time.Millisecond))
	}
	return w
}

// wanted is a recorded request.
func wanted(a *arrivals.Arrival) want {
	n := max(a.Sequences, 1)
	w := want{
		input: max(a.Input, 1), cached: min(a.Cached/n, max(a.Input/n-1, 0)), output: max(a.Output/n, 1), estimate: a.Estimate, maxTokens: a.MaxTokens,
		sequences: n, stream: a.Stream, endpoint: orChat(a.Endpoint), prefix: a.Prefix, chat: a.Chat,
		chars: a.Chars,
	}
	if w.estimate <= 0 {
		w.estimate = w.input
	}
	return w
}

// gap is the time until the next request of a rate, from now on; false: there is
// none. Requests of a Poisson process of the highest rate are thinned out.
func (s *source) gap(now, end time.Duration) (time.Duration, bool) {
	l := &s.user.Load
	most := l.most()
	if l.Until > 0 {
		end = min(end, l.Until)
	}
	for at := max(now, l.From); most > 0; {
		gap := s.rand.ExpFloat64() / (l.Rate * most)
		if gap >= (end - at).Seconds() {
			return 0, false
		}
		at += time.Duration(gap * float64(time.Second))
		if s.rand.Float64()*most < l.factor(at, end) {
			return at - now, true
		}
	}
	return 0, false
}

// factor of the rate at a moment.
func (l *Load) factor(at, end time.Duration) float64 {
	x := 1.0
	if n := len(l.Shape); n > 0 {
		x = l.Shape[min(int(int64(at)*int64(n)/int64(end)), n-1)]
	}
	if l.Bursts != nil && at%l.Bursts.Every < l.Bursts.For {
		x *= l.Bursts.Times
	}
	return x
}

func (s *source) think() time.Duration {
	return time.Duration(s.user.Load.Think.draw(s.rand) * float64(time.Millisecond))
}
