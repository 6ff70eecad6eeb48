package gpumodel

import (
	"errors"
	"fmt"
	"time"
)

// Errors of Admit and Add.
var (
	ErrBusy     = errors.New("gpumodel: the engine has all the requests it may have")
	ErrBacklog  = errors.New("gpumodel: the engine has too many prompt tokens to compute")
	ErrTooLarge = errors.New("gpumodel: the request cannot fit even alone")
	ErrDead     = errors.New("gpumodel: the engine is dead")
	ErrRequest  = errors.New("gpumodel: invalid request")
)

// Scheduling is the order of an engine's own queue.
type Scheduling int

// The orders. Priority is by Request.Priority, lower first, then by arrival.
const (
	FCFS Scheduling = iota
	Priority
)

// Config is an engine.
type Config struct {
	Profile         Profile
	Scheduling      Scheduling
	MaxQueuedReqs   int // sequences that may be there, those that run included; 0: no bound
	MaxQueuedTokens int // prompt tokens of those without a first token, from which on nobody is admitted; 0: no bound
	// OOMTokens is the context in tokens above which a sequence runs out of memory
	// and kills the engine; 0: none does, and Add refuses what cannot fit.
	OOMTokens int
}

// Request is one sequence.
type Request struct {
	ID       uint64 // the caller's, unique among the sequences that are not over
	Prompt   int    // tokens, at least 1
	Output   int    // tokens that it generates; 0: none, as for an embedding
	Priority int    // lower is earlier, with Scheduling Priority
	// Prefix are the marks of the prompt's head in ascending order. It must not be
	// changed until the sequence is over.
	Prefix []Mark
}

// Mark is a point of a prompt: its first Tokens tokens, which hash to Hash.
type Mark struct {
	Hash   uint64
	Tokens int
}

// EventKind is what happened to a sequence.
type EventKind int

// The events of a sequence. In a step, Finished comes after the Token it belongs
// to. They hold at the end of the step.
const (
	Scheduled EventKind = iota + 1 // it left the queue; Cached says what it need not compute
	Token                          // one more token; Generated 1 is the first
	Finished
	Preempted // it is back in the queue
)

// Event is one thing that happened in a step.
type Event struct {
	ID        uint64
	Kind      EventKind
	Generated int // tokens so far
	Cached    int // Scheduled: prompt tokens found in the prefix cache
}

// Step is what a step did.
type Step struct {
	Took    time.Duration // 0: there was nothing to do
	Prefill int           // prompt tokens computed
	Decode  int           // sequences that decoded
	// Events hold at the end of the step. The slice is valid until the next Step.
	Events []Event
	Dead   bool // the engine ran out of memory and is no more
}

// Stats is the engine at a moment, and what it did since it began.
type Stats struct {
	Running, Waiting  int
	WaitingTokens     int
	KVUsed, KVBlocks  int // in blocks
	Steps             int
	Preemptions       int
	PromptTokens      int // of sequences that were prefilled, cached ones included
	GeneratedTokens   int
	PrefixQueryTokens int // prompt tokens that were looked up
	PrefixHitTokens   int
}

type seq struct {
	Request
	order     uint64
	computed  int // tokens whose KV is there
	generated int
	chunk     int // tokens of the present step
	place     int // in the waiting heap; -1: it runs
	fresh     bool

	private int     // blocks of its own
	shared  int     // blocks of the segments it holds
	held    []int32 // these segments
	marked  int     // marks that are matched or published
}

// length is the tokens whose KV the next token needs.
func (s *seq) length() int { return s.Prompt + s.generated }

func (s *seq) decoding() bool { return s.generated > 0 && s.length()-s.computed == 1 }

func (s *seq) before(o *seq) bool {
	if s.Priority != o.Priority {
		return s.Priority < o.Priority
	}
	return s.order < o.order
}

// Engine is a vLLM engine. It is not safe for concurrent use.
type Engine struct {
	cfg     Config
	kv      cache
	seqs    map[uint64]*seq
	waiting waiting
	running []*seq // in the order in which they were admitted
	events  []Event
	spare   []*seq
	arrived uint64
	blocked bool // the head of the queue found no KV, and nothing changed since
	wanted  int  // idle blocks that the head would use; it used them last, so they are evicted last
	dead    bool
	stats   Stats
}

// New makes an engine with nothing in it.
func New(cfg Config) (*Engine, error) {
	if err := cfg.Profile.Validate(); err != nil {
		return nil, err
	}
	kv := newCache(cfg.Profile.KVTokens, cfg.Profile.BlockSize)
	if most := kv.blocks * kv.blockSize; cfg.OOMTokens < 0 || cfg.OOMTokens > most {
		return nil, fmt.Errorf("%w: out of memory at %d tokens, with %d of KV", ErrProfile, cfg.OOMTokens, most)
	}
	return &Engine{cfg: cfg, kv: kv, seqs: make(map[uint64]*seq)}, nil
}

// Admit reports whether a request of n sequences may come in. It fails with
// ErrBusy or ErrBacklog, by the bounds of vLLM's --max-num-queued-reqs and
// --max-num-queued-tokens, which, unlike their names, count what runs, too. Add
// does not ask it.
func (e *Engine) Admit(n int) error {
	switch {
	case e.cfg.MaxQueuedReqs > 0 && len(e.seqs)+n > e.cfg.MaxQueuedReqs:
		return ErrBusy
	case e.cfg.MaxQueuedTokens > 0 && e.prefilling() >= e.cfg.MaxQueuedTokens:
		return ErrBacklog
	}
	return nil
}

// prefilling is the prompts, cached or not, of the sequences without a token.
func (e *Engine) prefilling() int {
	n := e.waiting.tokens
	for _, s := range e.running {
		if s.generated == 0 {
			n += s.Prompt
		}
	}
	return n
}

// Add puts a sequence into the queue. It fails with ErrTooLarge, ErrDead or
// ErrRequest.
func (e *Engine) Add(r Request) error {
	if err := e.check(&r); err != nil {
		return err
	}
	s := e.newSeq()
	s.Request, s.order, s.fresh = r, e.arrived, true
	if e.cfg.Scheduling == FCFS {
		s.Priority = 0
	}
	e.arrived++
	e.seqs[r.ID] = s
	e.waiting.push(s)
	e.blocked = false
	return nil
}

func (e *Engine) check(r *Request) error {
	_, twin := e.seqs[r.ID]
	switch {
	case e.dead:
		return ErrDead
	case twin:
		return fmt.Errorf("%w: id %d is taken", ErrRequest, r.ID)
	case r.Prompt < 1 || r.Output < 0:
		return fmt.Errorf("%w: %d tokens in, %d out", ErrRequest, r.Prompt, r.Output)
	case e.cfg.OOMTokens == 0 && e.kv.blocksFor(r.Prompt+r.Output) > e.kv.blocks:
		return ErrTooLarge
	}
	for k, m := range r.Prefix {
		if m.Tokens > r.Prompt || (k > 0 && m.Tokens <= r.Prefix[k-1].Tokens) {
			return fmt.Errorf("%w: mark %d at %d tokens", ErrRequest, k, m.Tokens)
		}
	}
	return nil
}

// Abort ends a sequence and frees what it holds, and reports whether it was there.
func (e *Engine) Abort(id uint64) bool {
	s, ok := e.seqs[id]
	if !ok {
		return false
	}
	if s.place >= 0 {
		e.waiting.remove(s)
	} else {
		e.removeRunning(s)
	}
	e.forget(s)
	return true
}

// Generated is how many tokens a sequence has made; 0: it is not there.
func (e *Engine) Generated(id uint64) int {
	if s, ok := e.seqs[id]; ok {
		return s.generated
	}
	return 0
}

// Stats is what the engine does and did.
func (e *Engine) Stats() Stats {
	st := e.stats
	st.Running, st.Waiting, st.WaitingTokens = len(e.running), len(e.waiting.heap), e.waiting.tokens
	st.KVUsed, st.KVBlocks = e.kv.used(), e.kv.blocks
	return st
}

func (e *Engine) newSeq() *seq {
	if n := len(e.spare); n > 0 {
		s := e.spare[n-1]
		e.spare = e.spare[:n-1]
		return s
	}
	return &seq{place: -1}
}

// forget frees a sequence that is in neither list any more.
func (e *Engine) forget(s *seq) {
	e.kv.release(s)
	e.blocked = false
	delete(e.seqs, s.ID)
	*s = seq{held: s.held, place: -1}
	e.spare = append(e.spare, s)
}

func (e *Engine) removeRunning(s *seq) int {
	for i, r := range e.running {
		if r == s {
			copy(e.running[i:], e.running[i+1:])
			e.running[len(e.running)-1] = nil
			e.running = e.running[:len(e.running)-1]
			return i
		}
	}
	return -1
}
