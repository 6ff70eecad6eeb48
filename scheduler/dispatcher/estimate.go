package dispatcher

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

const (
	// coldOutput is expected of one sequence before anything was learned, in tokens.
	coldOutput = 256
	// memory is the weight of the past in the averages: 1 − 1/memory.
	memory = 16
	// mostKept bounds what is remembered of users and prefix groups.
	mostKept = 100_000
)

// mean is an exponentially weighted one; its first values weigh as in a plain
// mean, so that one outlier at the start does not stay.
type mean struct {
	Value float64 `json:"v"`
	N     int     `json:"n"`
}

func (m *mean) add(x float64) {
	m.N = min(m.N+1, memory)
	m.Value += (x - m.Value) / float64(m.N)
}

// estimates are what is learned from finished requests: the output of one
// sequence by user and class, and the cached part of a prompt by user and
// prefix group.
type estimates struct {
	users   map[string]*mean
	classes map[string]*mean
	pool    mean
	cached  map[cacheKey]*mean // share of the prompt
	gap     mean               // seconds between tokens of a sequence
	first   mean               // seconds from sent to the first content
}

type cacheKey struct {
	user  string
	group uint64
}

func newEstimates() *estimates {
	return &estimates{users: map[string]*mean{}, classes: map[string]*mean{}, cached: map[cacheKey]*mean{}}
}

// input is what a request is expected to cost, as far as it is known before it ran.
func (s *estimates) input(e *scheduler.Entry) fairqueue.Input {
	in := fairqueue.Input{Tokens: e.InputTokens, Sequences: max(e.Sequences, 1), Expected: s.output(e), Stream: e.Stream}
	if m := s.cached[cacheKey{e.User, e.PrefixGroup}]; m != nil && e.PrefixGroup != 0 {
		in.Cached = min(int(m.Value*float64(e.InputTokens)), e.InputTokens)
	}
	return in
}

// output is E = min(max(the user's mean, ½ of the class's mean), max_tokens).
func (s *estimates) output(e *scheduler.Entry) int {
	if !generates(e.Endpoint) {
		return 0
	}
	expected := float64(coldOutput)
	if s.pool.N > 0 {
		expected = s.pool.Value
	}
	if m := s.classes[e.Class]; m != nil {
		expected = m.Value
	}
	if m := s.users[e.User]; m != nil {
		expected = max(m.Value, expected/2)
	}
	if e.MaxTokens > 0 {
		expected = min(expected, float64(e.MaxTokens))
	}
	return max(int(expected), 1)
}

// generates reports whether an endpoint's answers are generated tokens.
func generates(endpoint string) bool {
	switch endpoint {
	case "embeddings", "pooling", "classify", "rerank", "score":
		return false
	default:
		return true
	}
}

// learn takes what a completed request turned out to be.
func (s *estimates) learn(e *scheduler.Entry, a *attempt, u scheduler.Usage, now time.Time) {
	if generates(e.Endpoint) && u.Output > 0 {
		perSequence := float64(u.Output) / float64(max(e.Sequences, 1))
		s.pool.add(perSequence)
		of(s.classes, e.Class).add(perSequence)
		of(s.users, e.User).add(perSequence)
		if perSequence > 1 && e.Stream && a.first && !a.adopted {
			s.gap.add(max((now.Sub(a.grantedAt)-s.ttft()).Seconds(), 0) / perSequence)
		}
	}
	if u.CachedKnown && u.Input > 0 && e.PrefixGroup != 0 {
		of(s.cached, cacheKey{e.User, e.PrefixGroup}).add(float64(u.Cached) / float64(u.Input))
	}
}

func (s *estimates) firstToken(d time.Duration) { s.first.add(d.Seconds()) }

func (s *estimates) ttft() time.Duration { return time.Duration(s.first.Value * float64(time.Second)) }

func (s *estimates) itl() time.Duration { return time.Duration(s.gap.Value * float64(time.Second)) }

// of finds or makes a mean. What is forgotten when there are too many is
// learned again.
func of[K comparable](m map[K]*mean, k K) *mean {
	if x := m[k]; x != nil {
		return x
	}
	if len(m) >= mostKept {
		for old := range m {
			delete(m, old)
			break
		}
	}
	x := &mean{}
	m[k] = x
	return x
}
