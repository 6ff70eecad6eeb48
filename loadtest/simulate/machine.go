package simulate

import (
	"time"

	"fairlane/proxy/limit"
	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/gpumodel"
	"fairlane/scheduler/turn"
)

// job is one request.
type job struct {
	req   fairqueue.Request
	run   turn.Run
	entry scheduler.Entry
	who   *person
	from  *source
	want  want
	at    time.Duration // it arrived
	index int           // among those in flight

	machine *machine
	ids     uint64 // of its first sequence; the others follow
	left    int    // sequences that are not over
	cached  int    // prompt tokens that were found in the cache
	marks   [1]gpumodel.Mark
	over    bool // it does not wait any more
	coming  bool // the engine does not have it yet

	taken    []limit.Charge // tokens, from buckets
	estimate fairqueue.Cost
	ticket   int  // of one who may hang up; 0: it does not
	parked   bool // it is not in the queue yet, see [Policy.parks]
}

// Entry implements turn.Owner.
func (j *job) Entry() *scheduler.Entry { return &j.entry }

// machine is a backend.
type machine struct {
	index   int
	url     string
	backend *capacity.Backend
	engine  *gpumodel.Engine
	jobs    map[uint64]*job // by sequence
	coming  []*job          // that the engine has not got yet
	events  []gpumodel.Event
	busy    bool // a step is being done
}

func newMachine(i int, url string, cfg gpumodel.Config) (*machine, error) {
	e, err := gpumodel.New(cfg)
	if err != nil {
		return nil, err
	}
	return &machine{index: i, url: url, engine: e, jobs: map[uint64]*job{}}, nil
}

// enter lets the engine have the request that was sent first.
func (m *machine) enter() error {
	j := m.coming[0]
	m.coming = m.coming[1:]
	j.coming = false
	r := gpumodel.Request{Prompt: max(j.want.input/j.want.sequences, 1), Output: j.want.output}
	if !turn.Generates(j.want.endpoint) {
		r.Output = 0
	}
	if j.want.cached > 0 && j.want.prefix != 0 {
		j.marks[0] = gpumodel.Mark{Hash: j.want.prefix ^ j.want.chat, Tokens: min(j.want.cached, r.Prompt)}
		r.Prefix = j.marks[:]
	}
	r.ID = j.ids
	for range j.want.sequences {
		if err := m.engine.Add(r); err != nil {
			return err
		}
		m.jobs[r.ID] = j
		r.ID++
	}
	return nil
}

// step does the next step, or as many as nothing happens in, and says when it ends;
// false: there is nothing to do.
func (m *machine) step(limit time.Duration) (time.Duration, bool) {
	m.events = nil
	if n, took := m.engine.Leap(limit); n > 0 {
		m.busy = true
		return took, true
	}
	st := m.engine.Step()
	m.events, m.busy = st.Events, st.Took > 0
	return st.Took, m.busy
}

// generated is what a request has, of all its sequences that run.
func (m *machine) generated(j *job) int {
	if j.want.sequences == 1 {
		return m.engine.Generated(j.ids)
	}
	n, id := (j.want.sequences-j.left)*j.want.output, j.ids
	for range j.want.sequences {
		n += m.engine.Generated(id)
		id++
	}
	return n
}

// sample is what its metrics say.
func (m *machine) sample(now time.Time, p *gpumodel.Profile) capacity.Sample {
	st := m.engine.Stats()
	return capacity.Sample{
		At: now, Running: st.Running, Waiting: st.Waiting, KVUsage: float64(st.KVUsed) / float64(max(st.KVBlocks, 1)),
		Preemptions: float64(st.Preemptions), KVTokens: p.KVTokens, BlockSize: p.BlockSize, PrefixCache: true,
	}
}
