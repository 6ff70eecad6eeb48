package gpumodel

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// newEngine makes an engine of a profile that a test changed.
func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func add(t testing.TB, e *Engine, rs ...Request) {
	t.Helper()
	for _, r := range rs {
		if err := e.Add(r); err != nil {
			t.Fatalf("Add(%+v): %v", r, err)
		}
	}
}

// small is an engine whose figures are easy to count with: 10 ms a step, 1 ms a
// prompt token, nothing else, blocks of 4.
func small(kvBlocks, seqs, budget int) Profile {
	return Profile{
		Name: "small", Base: 10 * time.Millisecond, PerPrefillToken: time.Millisecond,
		KVTokens: 4 * kvBlocks, BlockSize: 4, MaxNumSeqs: seqs, PrefillBudget: budget, MaxModelLen: 1 << 20,
	}
}

// The expected times are written out from the measured figures: 10.04 ms, 81.1 µs
// and 60 µs for the A100, 7.05 ms, 19.5 µs and 25.4 µs for the H100, 77 ns for a
// token of context on the A100.
func TestAStepTakesWhatWasMeasured(t *testing.T) {
	const us, ns = time.Microsecond, time.Nanosecond
	for _, tt := range []struct {
		name             string
		profile          Profile
		sequences        int
		prompt           int
		prefill, decode1 time.Duration // the first two steps
	}{
		{"A100, one", A100(), 1, 1000, 10040*us + 81100*us, 10040*us + 60*us + 77*1001*ns},
		{"A100, two", A100(), 2, 1000, 10040*us + 2*81100*us, 10040*us + 120*us + 77*2002*ns},
		{"A100, a hundred short ones", A100(), 100, 10, 10040*us + 81100*us, 10040*us + 6000*us + 77*1100*ns},
		{"H100, one", H100(), 1, 1000, 7050*us + 19500*us, 7050*us + 25400*ns + 47*1001*ns},
		{"H100, eight", H100(), 8, 1000, 7050*us + 8*19500*us, 7050*us + 8*25400*ns + 47*8008*ns},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEngine(t, Config{Profile: tt.profile})
			for i := range tt.sequences {
				add(t, e, Request{ID: uint64(i), Prompt: tt.prompt, Output: 3})
			}
			if got := e.Step().Took; got != tt.prefill {
				t.Errorf("the prefill takes %v, not %v", got, tt.prefill)
			}
			if got := e.Step().Took; got != tt.decode1 {
				t.Errorf("the first decoding step takes %v, not %v", got, tt.decode1)
			}
		})
	}
}

func TestTinyCPUMakesThreeThousandTokensASecond(t *testing.T) {
	e := newEngine(t, Config{Profile: TinyCPU()})
	for i := range 8 {
		add(t, e, Request{ID: uint64(i), Prompt: 20, Output: 500})
	}
	e.Step()
	var took time.Duration
	tokens := 0
	for range 400 {
		st := e.Step()
		took += st.Took
		tokens += st.Decode
	}
	if rate := float64(tokens) / took.Seconds(); rate < 2900 || rate > 3300 {
		t.Errorf("%.0f tokens/s", rate)
	}
}

// A prompt of 100 tokens has 5,050 pairs, however it is cut; of one whose first 60
// are cached, the 1,830 of those are saved.
func TestAttentionCostsThePairsOfAPromptInAnyChunks(t *testing.T) {
	for budget, steps := range map[int]int{1000: 1, 32: 4, 7: 15} {
		p := small(1000, 4, budget)
		p.PerPrefillPair = time.Microsecond
		e := newEngine(t, Config{Profile: p})
		heads := []Mark{{Tokens: 60, Hash: 1}}
		for _, want := range []time.Duration{100*time.Millisecond + 5050*time.Microsecond, 40*time.Millisecond + 3220*time.Microsecond} {
			add(t, e, Request{ID: uint64(want), Prompt: 100, Output: 1, Prefix: heads})
			var took time.Duration
			n := 0
			for e.Stats().Running+e.Stats().Waiting > 0 {
				took += e.Step().Took
				n++
			}
			if got := took - time.Duration(n)*p.Base; got != want {
				t.Errorf("with %d tokens a step, the prompt took %v beside its steps, not %v", budget, got, want)
			}
			if want > 100*time.Millisecond && n != steps {
				t.Errorf("with %d tokens a step, it took %d steps, not %d", budget, n, steps)
			}
		}
	}
}

func TestNothingToDoTakesNoTime(t *testing.T) {
	e := newEngine(t, Config{Profile: H100()})
	if st := e.Step(); st.Took != 0 || len(st.Events) != 0 || st.Dead {
		t.Errorf("an idle step is %+v", st)
	}
	if e.Stats().Steps != 0 {
		t.Error("an idle step was counted")
	}
}

// trace is what steps did, one line for each.
type trace struct {
	Took    int // ms
	Prefill int
	Decode  int
	Events  []Event
}

func steps(e *Engine, n int) []trace {
	var out []trace
	for range n {
		st := e.Step()
		out = append(out, trace{int(st.Took / time.Millisecond), st.Prefill, st.Decode, append([]Event(nil), st.Events...)})
	}
	return out
}

func TestAPromptIsPrefilledInChunksThatDecodingMakesSmaller(t *testing.T) {
	e := newEngine(t, Config{Profile: small(1000, 4, 10)})
	add(t, e, Request{ID: 1, Prompt: 5, Output: 10})
	got := steps(e, 1)
	add(t, e, Request{ID: 2, Prompt: 20, Output: 1}, Request{ID: 3, Prompt: 3, Output: 0})
	got = append(got, steps(e, 4)...)
	want := []trace{
		{15, 5, 0, []Event{{1, Scheduled, 0, 0}, {1, Token, 1, 0}}},
		{19, 9, 1, []Event{{2, Scheduled, 0, 0}, {1, Token, 2, 0}}},
		{19, 9, 1, []Event{{1, Token, 3, 0}}},
		{15, 5, 1, []Event{{3, Scheduled, 0, 0}, {1, Token, 4, 0}, {2, Token, 1, 0}, {2, Finished, 1, 0}, {3, Finished, 0, 0}}},
		{10, 0, 1, []Event{{1, Token, 5, 0}}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestThereAreNoMoreSequencesThanPlaces(t *testing.T) {
	e := newEngine(t, Config{Profile: small(1000, 2, 100)})
	for i := range 5 {
		add(t, e, Request{ID: uint64(i), Prompt: 1, Output: 2})
	}
	e.Step()
	if st := e.Stats(); st.Running != 2 || st.Waiting != 3 || st.WaitingTokens != 3 {
		t.Errorf("%+v", st)
	}
	if !e.Abort(0) || e.Abort(0) {
		t.Error("a sequence can be aborted once")
	}
	if st := e.Stats(); st.Running != 1 || st.Waiting != 3 {
		t.Errorf("after the abort: %+v", st)
	}
}

// started are the ids in the order in which they left the queue.
func started(e *Engine) []uint64 {
	var out []uint64
	for {
		st := e.Step()
		if st.Took == 0 {
			return out
		}
		for _, ev := range st.Events {
			if ev.Kind == Scheduled {
				out = append(out, ev.ID)
			}
		}
	}
}

func TestTheQueueGoesByArrivalOrByPriority(t *testing.T) {
	for _, tt := range []struct {
		order Scheduling
		want  []uint64
	}{
		{FCFS, []uint64{1, 2, 3, 4, 5}},
		{Priority, []uint64{1, 4, 3, 5, 2}},
	} {
		e := newEngine(t, Config{Profile: small(1000, 1, 100), Scheduling: tt.order})
		add(t, e, Request{ID: 1, Prompt: 1, Output: 3, Priority: 9})
		e.Step()
		for id, p := range []int{2: 5, 3: 1, 4: -7, 5: 1} {
			if id > 1 {
				add(t, e, Request{ID: uint64(id), Prompt: 1, Output: 1, Priority: p})
			}
		}
		if d := cmp.Diff(tt.want[1:], started(e)); d != "" {
			t.Errorf("order %d: %s", tt.order, d)
		}
	}
}

func TestWhoIsPreemptedIsTheLastInOrder(t *testing.T) {
	for _, tt := range []struct {
		name     string
		order    Scheduling
		priority [3]int
		victim   uint64
	}{
		{"by arrival", FCFS, [3]int{5, 1, 1}, 2},
		{"the least urgent", Priority, [3]int{5, 1, 1}, 0},
		{"the later of equals", Priority, [3]int{1, 1, 1}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Three sequences of one full block each, and no fourth block.
			e := newEngine(t, Config{Profile: small(3, 4, 100), Scheduling: tt.order})
			for i, p := range tt.priority {
				add(t, e, Request{ID: uint64(i), Prompt: 4, Output: 3, Priority: p})
			}
			e.Step()
			var first []Event
			for _, ev := range e.Step().Events {
				if ev.Kind == Preempted {
					first = append(first, ev)
				}
			}
			if len(first) == 0 || first[0].ID != tt.victim || first[0].Generated != 1 {
				t.Fatalf("preempted: %v, not %d", first, tt.victim)
			}
			if e.Stats().Preemptions != len(first) {
				t.Errorf("%d preemptions counted", e.Stats().Preemptions)
			}
		})
	}
}

func TestAPreemptedSequenceIsComputedAgainAndLosesNothing(t *testing.T) {
	e := newEngine(t, Config{Profile: small(4, 4, 100)})
	add(t, e, Request{ID: 1, Prompt: 6, Output: 8}, Request{ID: 2, Prompt: 6, Output: 8})
	tokens := map[uint64]int{}
	for range 100 {
		for _, ev := range e.Step().Events {
			if ev.Kind == Token {
				if tokens[ev.ID]++; tokens[ev.ID] != ev.Generated {
					t.Fatalf("%+v is token %d", ev, tokens[ev.ID])
				}
			}
		}
	}
	if d := cmp.Diff(map[uint64]int{1: 8, 2: 8}, tokens); d != "" {
		t.Error(d)
	}
	st := e.Stats()
	if st.Preemptions == 0 || st.GeneratedTokens != 16 || st.PromptTokens != 12 || st.KVUsed != 0 {
		t.Errorf("%+v", st)
	}
}

func TestOutOfMemoryIsTheEnd(t *testing.T) {
	e := newEngine(t, Config{Profile: small(10, 4, 100), OOMTokens: 40})
	add(t, e, Request{ID: 1, Prompt: 38, Output: 10})
	for i := range 3 {
		if st := e.Step(); st.Dead {
			t.Fatalf("dead in step %d", i)
		}
	}
	if st := e.Step(); !st.Dead {
		t.Fatalf("it survives %+v", st)
	}
	if err := e.Add(Request{ID: 2, Prompt: 1, Output: 1}); !errors.Is(err, ErrDead) {
		t.Errorf("Add to a dead engine: %v", err)
	}
	if !e.Step().Dead {
		t.Error("it lives again")
	}
	e = newEngine(t, Config{Profile: small(10, 4, 100), OOMTokens: 40})
	add(t, e, Request{ID: 1, Prompt: 41, Output: 1})
	if !e.Step().Dead {
		t.Error("a prompt that is too long does not kill")
	}
}

func TestWhatAddRefuses(t *testing.T) {
	e := newEngine(t, Config{Profile: small(10, 4, 100)})
	add(t, e, Request{ID: 1, Prompt: 1, Output: 1})
	for _, tt := range []struct {
		name string
		r    Request
		want error
	}{
		{"an id that is taken", Request{ID: 1, Prompt: 1}, ErrRequest},
		{"no prompt", Request{ID: 2, Output: 1}, ErrRequest},
		{"a negative answer", Request{ID: 2, Prompt: 1, Output: -1}, ErrRequest},
		{"more than the cache", Request{ID: 2, Prompt: 20, Output: 21}, ErrTooLarge},
		{"all of the cache", Request{ID: 2, Prompt: 20, Output: 20}, nil},
		{"a mark behind the prompt", Request{ID: 3, Prompt: 4, Prefix: []Mark{{1, 5}}}, ErrRequest},
		{"marks that go back", Request{ID: 3, Prompt: 9, Prefix: []Mark{{1, 5}, {2, 5}}}, ErrRequest},
	} {
		if err := e.Add(tt.r); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, not %v", tt.name, err, tt.want)
		}
	}
}

func TestAdmitCountsWhatRunsToo(t *testing.T) {
	e := newEngine(t, Config{Profile: small(100, 2, 100), MaxQueuedReqs: 3})
	for i := range 2 {
		if err := e.Admit(1); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		add(t, e, Request{ID: uint64(i), Prompt: 1, Output: 5})
	}
	e.Step()
	if err := e.Admit(1); err != nil {
		t.Errorf("one more: %v", err)
	}
	if err := e.Admit(2); !errors.Is(err, ErrBusy) {
		t.Errorf("two more: %v", err)
	}
	e.Abort(0)
	if err := e.Admit(2); err != nil {
		t.Errorf("two after an abort: %v", err)
	}
}

func TestAdmitKnowsThePromptsThatAreNotComputed(t *testing.T) {
	e := newEngine(t, Config{Profile: small(100, 2, 4), MaxQueuedTokens: 8})
	add(t, e, Request{ID: 1, Prompt: 8, Output: 5})
	for i := range 2 {
		if err := e.Admit(1); !errors.Is(err, ErrBacklog) {
			t.Errorf("before step %d: %v", i, err)
		}
		e.Step()
	}
	if err := e.Admit(1); err != nil {
		t.Errorf("after the first token: %v", err)
	}
}

func TestNewRefusesWhatMakesNoSense(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no base":            func(c *Config) { c.Profile.Base = 0 },
		"no blocks":          func(c *Config) { c.Profile.KVTokens = 3 },
		"no block size":      func(c *Config) { c.Profile.BlockSize = 0 },
		"no sequences":       func(c *Config) { c.Profile.MaxNumSeqs = 0 },
		"no budget":          func(c *Config) { c.Profile.PrefillBudget = 3 },
		"no context":         func(c *Config) { c.Profile.MaxModelLen = 1 },
		"memory beyond KV":   func(c *Config) { c.OOMTokens = 41 },
		"a negative memory":  func(c *Config) { c.OOMTokens = -1 },
		"a negative context": func(c *Config) { c.Profile.PerContextToken = -1 },
	} {
		cfg := Config{Profile: small(10, 4, 10)}
		change(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrProfile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range Profiles() {
		if _, err := New(Config{Profile: p}); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if got, err := ProfileByName(p.Name); err != nil || got.Name != p.Name {
			t.Errorf("%s is not found: %v", p.Name, err)
		}
	}
	if _, err := ProfileByName("nosuch"); !errors.Is(err, ErrProfile) {
		t.Errorf("nosuch: %v", err)
	}
}

func TestWhatAPreemptedSequenceHadOfTheBudgetIsLeftToOthers(t *testing.T) {
	e := newEngine(t, Config{Profile: small(9, 3, 6), Scheduling: Priority})
	add(t, e, Request{ID: 1, Prompt: 20, Output: 10, Priority: 9})
	steps(e, 4)
	add(t, e, Request{ID: 2, Prompt: 3, Output: 9}, Request{ID: 3, Prompt: 30, Output: 1, Priority: 1})
	steps(e, 2)
	st := e.Step() // 2 needs a block, 1 loses its own, and 3 gets the token that 1 had
	if st.Decode != 1 || st.Prefill != 5 || e.Stats().Preemptions != 1 {
		t.Errorf("%+v", st)
	}
}
