package gpumodel

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// marks describes a prompt block by block; prompts with the same seed share their
// beginnings.
func marks(seed uint64, tokens, blockSize int) []Mark {
	var out []Mark
	for n := blockSize; n <= tokens; n += blockSize {
		out = append(out, Mark{Hash: seed<<32 | uint64(n), Tokens: n})
	}
	return out
}

func TestAPromptThatIsCachedIsNotComputed(t *testing.T) {
	e := newEngine(t, Config{Profile: small(100, 4, 1000)})
	long := func(id, seed uint64, n int) Request {
		return Request{ID: id, Prompt: n, Output: 1, Prefix: marks(seed, n, 4)}
	}
	for _, tt := range []struct {
		name    string
		r       Request
		prefill int
		cached  int
	}{
		{"for the first time", long(1, 7, 20), 20, 0},
		{"the same again, but for its last block", long(2, 7, 20), 4, 16},
		{"longer", long(3, 7, 31), 11, 20},
		{"shorter, and not whole blocks", long(4, 7, 14), 2, 12},
		{"another", long(5, 8, 20), 20, 0},
		{"the longer one again", long(6, 7, 31), 3, 28},
		{"without marks", Request{ID: 7, Prompt: 20, Output: 1}, 20, 0},
	} {
		add(t, e, tt.r)
		st := e.Step()
		if st.Prefill != tt.prefill || st.Events[0].Cached != tt.cached {
			t.Errorf("%s: %d computed, %d cached", tt.name, st.Prefill, st.Events[0].Cached)
		}
	}
	st := e.Stats()
	if st.PrefixQueryTokens != 156 || st.PrefixHitTokens != 76 || st.PromptTokens != 156 {
		t.Errorf("%+v", st)
	}
}

func TestOneMarkIsASharedSystemPrompt(t *testing.T) {
	e := newEngine(t, Config{Profile: small(100, 4, 1000)})
	r := Request{ID: 1, Prompt: 50, Output: 5, Prefix: []Mark{{Hash: 9, Tokens: 40}}}
	add(t, e, r)
	e.Step()
	alone := e.Stats().KVUsed
	r.ID = 2
	add(t, e, r)
	if st := e.Step(); st.Events[0].Cached != 40 || st.Prefill != 10 {
		t.Errorf("%+v", st)
	}
	// 50 tokens are 13 blocks, 10 of which are shared.
	if now := e.Stats().KVUsed; alone != 13 || now != 16 {
		t.Errorf("%d blocks alone, %d together", alone, now)
	}
}

func TestTheLeastRecentlyUsedIsEvictedFromItsEnd(t *testing.T) {
	e := newEngine(t, Config{Profile: small(10, 4, 1000)})
	run := func(id, seed uint64, n int) int {
		add(t, e, Request{ID: id, Prompt: n, Output: 0, Prefix: marks(seed, n, 4)})
		return e.Step().Events[0].Cached
	}
	run(1, 1, 16)
	run(2, 2, 16)
	run(3, 1, 16) // used again
	run(4, 3, 16) // takes two free blocks and the last two of prompt 2
	if got := run(5, 2, 16); got != 8 {
		t.Errorf("%d tokens of the second prompt are left, not 8", got)
	}
	if got := run(6, 3, 16); got != 12 {
		t.Errorf("%d tokens of the last prompt are left, not 12", got)
	}
}

// walk is an engine under random calls, and what must hold of it.
type walk struct {
	e       *Engine
	cfg     Config
	next    uint64
	alive   map[uint64]Request
	tokens  map[uint64]int
	running map[uint64]bool // as its events tell
}

func drawConfig(t *rapid.T) Config {
	return Config{
		Profile: small(
			rapid.IntRange(4, 40).Draw(t, "blocks"), rapid.IntRange(1, 6).Draw(t, "places"), rapid.IntRange(6, 40).Draw(t, "budget"),
		),
		Scheduling: Scheduling(rapid.IntRange(0, 1).Draw(t, "scheduling")),
	}
}

func drawRequest(t *rapid.T, id uint64, cfg Config) Request {
	most := cfg.Profile.KVTokens
	r := Request{ID: id, Prompt: rapid.IntRange(1, most).Draw(t, "prompt"), Priority: rapid.IntRange(0, 2).Draw(t, "priority")}
	r.Output = rapid.IntRange(0, most-r.Prompt).Draw(t, "output")
	switch rapid.IntRange(0, 2).Draw(t, "marks") {
	case 1:
		r.Prefix = marks(rapid.Uint64Range(1, 2).Draw(t, "seed"), r.Prompt, 4)
	case 2: // odd lengths
		seed := rapid.Uint64Range(3, 4).Draw(t, "seed")
		for n := 3; n <= r.Prompt; n += 5 {
			r.Prefix = append(r.Prefix, Mark{Hash: seed<<32 | uint64(n), Tokens: n})
		}
	}
	return r
}

func TestTheBooksAreRightWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		e, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		w := &walk{e: e, cfg: cfg, alive: map[uint64]Request{}, tokens: map[uint64]int{}, running: map[uint64]bool{}}
		t.Repeat(map[string]func(*rapid.T){
			"add":   w.add,
			"abort": w.abort,
			"step":  w.step,
			"leap":  w.leap,
			"":      w.check,
		})
		for len(w.alive) > 0 {
			w.step(t)
			w.check(t)
		}
		if st := e.Stats(); st.KVUsed != 0 || st.Running+st.Waiting+st.WaitingTokens != 0 {
			t.Fatalf("something is left: %+v", st)
		}
	})
}

func (w *walk) add(t *rapid.T) {
	w.next++
	r := drawRequest(t, w.next, w.cfg)
	if err := w.e.Add(r); err != nil {
		t.Fatalf("Add(%+v): %v", r, err)
	}
	w.alive[r.ID] = r
}

func (w *walk) abort(t *rapid.T) {
	id := rapid.Uint64Range(1, w.next+1).Draw(t, "id")
	_, there := w.alive[id]
	if got := w.e.Abort(id); got != there {
		t.Fatalf("Abort(%d) says %v", id, got)
	}
	delete(w.alive, id)
	delete(w.running, id)
}

func (w *walk) step(t *rapid.T) {
	st := w.e.Step()
	if (st.Took == 0) != (len(w.alive) == 0) {
		t.Fatalf("a step of %v with %d sequences", st.Took, len(w.alive))
	}
	if st.Prefill+st.Decode > w.cfg.Profile.PrefillBudget {
		t.Fatalf("%+v is beyond the budget", st)
	}
	for _, ev := range st.Events {
		r, there := w.alive[ev.ID]
		if !there {
			t.Fatalf("%+v of nobody", ev)
		}
		switch ev.Kind {
		case Scheduled:
			w.scheduled(t, r, ev)
		case Preempted:
			delete(w.running, ev.ID)
		case Token:
			if w.tokens[ev.ID]++; w.tokens[ev.ID] != ev.Generated || !w.running[ev.ID] {
				t.Fatalf("%+v is token %d", ev, w.tokens[ev.ID])
			}
		case Finished:
			if ev.Generated != r.Output || w.tokens[ev.ID] != r.Output {
				t.Fatalf("%+v has %d of %d tokens", ev, w.tokens[ev.ID], r.Output)
			}
			delete(w.alive, ev.ID)
			delete(w.running, ev.ID)
		}
	}
}

// scheduled checks that nobody who waits should have been first.
func (w *walk) scheduled(t *rapid.T, r Request, ev Event) {
	if w.running[r.ID] {
		t.Fatalf("%d is scheduled twice", r.ID)
	}
	w.running[r.ID] = true
	if ev.Cached >= r.Prompt+w.tokens[r.ID] || ev.Cached%w.cfg.Profile.BlockSize != 0 {
		t.Fatalf("%d of %d tokens are cached", ev.Cached, r.Prompt)
	}
	for id, other := range w.alive {
		if w.running[id] {
			continue
		}
		first := id < r.ID
		if w.cfg.Scheduling == Priority && other.Priority != r.Priority {
			first = other.Priority < r.Priority
		}
		if first {
			t.Fatalf("%d starts before %d", r.ID, id)
		}
	}
}

func (w *walk) leap(t *rapid.T) {
	n, _ := w.e.Leap(time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond)
	if n == 0 {
		return
	}
	for id := range w.running {
		w.tokens[id] += n
	}
}

// check counts the blocks again, from the sequences and the segments.
func (w *walk) check(t *rapid.T) {
	c := &w.e.kv
	private, users := 0, map[int32]int{}
	for _, s := range w.e.seqs {
		private += s.private
		for _, i := range s.held {
			users[i]++
		}
		if s.private < 0 || s.private+s.shared < c.blocksFor(s.computed) {
			t.Fatalf("%d blocks of its own and %d shared for %d tokens", s.private, s.shared, s.computed)
		}
		if s.place >= 0 && (s.private != 0 || len(s.held) != 0) {
			t.Fatalf("%d holds blocks in the queue", s.ID)
		}
	}
	used, idle := private, 0
	for _, i := range c.byHash {
		if g := c.segs[i]; g.users == 0 {
			idle += g.blocks
		} else {
			used += g.blocks
		}
		if c.segs[i].users != users[i] {
			t.Fatalf("segment %d has %d users, not %d", i, c.segs[i].users, users[i])
		}
	}
	if used != c.used() || idle != c.idle || c.free < 0 || used+idle+c.free != c.blocks {
		t.Fatalf("%d used, %d idle, %d free of %d; counted %d and %d", c.used(), c.idle, c.free, c.blocks, used, idle)
	}
	st := w.e.Stats()
	if st.Running != len(w.running) || st.Running+st.Waiting != len(w.alive) || st.Running > w.cfg.Profile.MaxNumSeqs {
		t.Fatalf("%+v with %d running of %d", st, len(w.running), len(w.alive))
	}
}

// Two engines get the same calls; one leaps where the other steps.
func TestALeapIsAsManySteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		cfg.Profile.PerSequence, cfg.Profile.PerContextToken = 3*time.Microsecond, 7*time.Nanosecond
		if rapid.Bool().Draw(t, "fragile") {
			cfg.OOMTokens = cfg.Profile.KVTokens / 2 / 4 * 4
		}
		walker, leaper := mustNew(t, cfg), mustNew(t, cfg)
		leapt := 0
		for id := range uint64(rapid.IntRange(1, 60).Draw(t, "rounds")) {
			if rapid.IntRange(0, 2).Draw(t, "add") == 0 {
				r := drawRequest(t, id, cfg)
				mustAdd(t, walker, r)
				mustAdd(t, leaper, r)
			}
			limit := time.Duration(rapid.IntRange(1, 500).Draw(t, "ms")) * time.Millisecond
			n, took := leaper.Leap(limit)
			leapt += n
			if took > limit || n == 0 && took != 0 {
				t.Fatalf("%d steps in %v of %v", n, took, limit)
			}
			for i := range n {
				st := walker.Step()
				took -= st.Took
				for _, ev := range st.Events {
					if ev.Kind != Token {
						t.Fatalf("%+v in step %d of a leap of %d", ev, i, n)
					}
				}
			}
			if took != 0 {
				t.Fatalf("a leap of %d steps took %v longer than the steps", n, took)
			}
			a, b := walker.Step(), leaper.Step()
			if d := cmp.Diff(a, b); d != "" {
				t.Fatalf("the step after a leap of %d:\n%s", n, d)
			}
			if d := cmp.Diff(walker.Stats(), leaper.Stats()); d != "" {
				t.Fatal(d)
			}
			if a.Dead {
				return
			}
		}
		t.Logf("%d steps leapt", leapt)
	})
}

func TestALeapIsWorthIt(t *testing.T) {
	e := newEngine(t, Config{Profile: H100()})
	for i := range 64 {
		add(t, e, Request{ID: uint64(i), Prompt: 100, Output: 1000})
	}
	if n, _ := e.Leap(time.Hour); n != 0 {
		t.Errorf("it leapt %d steps over a prefill", n)
	}
	e.Step()
	if n, _ := e.Leap(time.Hour); n != 998 {
		t.Errorf("it leapt %d steps, not all but the last", n)
	}
	if n, _ := e.Leap(time.Hour); n != 0 {
		t.Errorf("it leapt %d steps over the last", n)
	}
	e.Step()
	if st := e.Stats(); st.GeneratedTokens != 64_000 || st.Steps != 1000 || st.Running != 0 {
		t.Errorf("%+v", st)
	}
}

func mustNew(t *rapid.T, cfg Config) *Engine {
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func mustAdd(t *rapid.T, e *Engine, r Request) {
	if err := e.Add(r); err != nil {
		t.Fatalf("Add(%+v): %v", r, err)
	}
}

// The head of the queue shares three idle blocks and lacks two. When the sequence
// that runs takes one of the three, all three are gone, two are free, and the head
// fits: a leap must end before that.
func TestALeapDoesNotPassWhatAnEvictionAllows(t *testing.T) {
	e := newEngine(t, Config{Profile: small(5, 4, 6)})
	shared := []Mark{{Hash: 1, Tokens: 12}}
	add(t, e, Request{ID: 1, Prompt: 12, Output: 0, Prefix: shared})
	steps(e, 2)
	add(t, e, Request{ID: 2, Prompt: 4, Output: 12})
	steps(e, 1)
	add(t, e, Request{ID: 3, Prompt: 19, Output: 1, Prefix: shared})
	steps(e, 1)
	n, _ := e.Leap(time.Hour)
	if st := e.Stats(); n == 0 || n > 3 || st.Waiting != 1 {
		t.Fatalf("it leapt %d steps: %+v", n, st)
	}
	for range 4 - n {
		for _, ev := range e.Step().Events {
			if ev.Kind == Scheduled && ev.ID == 3 {
				return
			}
		}
	}
	t.Error("the head does not start")
}
