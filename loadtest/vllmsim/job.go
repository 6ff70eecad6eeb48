package vllmsim

import (
	"context"
	"errors"
	"sync"
	"time"

	"fairlane/scheduler/gpumodel"
)

// Errors that end a job.
var (
	errEngineDead = errors.New("vllmsim: the engine is dead")
	errStopped    = errors.New("vllmsim: the server stops")
)

// job is a request as the engine sees it: its sequences, which run and end on
// their own. The handler makes it, the loop fills it, the handler reads it.
type job struct {
	seqs     []sequence
	progress bool // wake the handler at every token, not only at the end of a sequence
	wake     chan struct{}

	mu       sync.Mutex
	dirty    []int // sequences with news
	finished int
	err      error
}

// sequence is one answer in the making.
type sequence struct {
	prompt   *prompt
	output   int // tokens
	limit    int // of tokens, as the client and the model's length set it
	choices  int // of its request
	priority int
	finish   string // "stop" or "length", once it has ended
	answer   answer
	stop     string // the stop string that ends it; "": none
	eos      bool   // its last token is the one that says so, and no text
	call     *call  // the tool call that the answer is; nil: none

	// The loop's alone.
	id              uint64
	arrived, first  time.Time
	last, scheduled time.Time
	preempted       int

	// Under the job's lock.
	generated int
	cached    int
	done      bool
	news      bool
}

// update is what is new of a sequence.
type update struct {
	index     int
	generated int
	cached    int
	done      bool
}

func newJob(seqs []sequence, progress bool) *job {
	return &job{seqs: seqs, progress: progress, wake: make(chan struct{}, 1)}
}

func (s *sequence) request() gpumodel.Request {
	return gpumodel.Request{
		ID: s.id, Prompt: len(s.prompt.tokens), Output: s.output, Priority: s.priority, Prefix: s.prompt.marks,
	}
}

// note is called by the loop when something happened to sequence i.
func (j *job) note(i int, ev gpumodel.Event) {
	j.mu.Lock()
	s := &j.seqs[i]
	s.generated = ev.Generated
	switch ev.Kind {
	case gpumodel.Scheduled:
		s.cached = max(s.cached, ev.Cached)
	case gpumodel.Finished:
		s.done = true
		j.finished++
	case gpumodel.Token, gpumodel.Preempted:
	}
	if !s.news && (s.done || ev.Kind == gpumodel.Token) {
		s.news = true
		j.dirty = append(j.dirty, i)
	}
	tell := j.progress || j.finished == len(j.seqs)
	j.mu.Unlock()
	if tell {
		j.signal()
	}
}

// fail is called by the loop when the engine dies.
func (j *job) fail(err error) {
	j.mu.Lock()
	j.err = err
	j.mu.Unlock()
	j.signal()
}

func (j *job) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// next waits for news and appends them to buf. It reports whether the job is over.
func (j *job) next(ctx context.Context, buf []update) ([]update, bool, error) {
	select {
	case <-ctx.Done():
		return buf, false, ctx.Err()
	case <-j.wake:
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, i := range j.dirty {
		s := &j.seqs[i]
		s.news = false
		buf = append(buf, update{index: i, generated: s.generated, cached: s.cached, done: s.done})
	}
	j.dirty = j.dirty[:0]
	return buf, j.finished == len(j.seqs), j.err
}

// usage is the tokens of a job.
type usage struct {
	prompt    int
	generated int
	cached    int
	created   int // prompt tokens that are in the cache now and were not
}

// usage counts a prompt once, however many choices it has.
func (j *job) usage() usage {
	j.mu.Lock()
	defer j.mu.Unlock()
	var u usage
	var last *prompt
	for i := range j.seqs {
		s := &j.seqs[i]
		u.generated += s.generated
		if s.prompt == last {
			continue
		}
		last = s.prompt
		u.prompt += len(s.prompt.tokens)
		u.cached += s.cached
		if n := len(s.prompt.marks); n > 0 {
			u.created += max(0, s.prompt.marks[n-1].Tokens-s.cached)
		}
	}
	return u
}
