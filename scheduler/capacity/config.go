package capacity

import "time"

const (
	firstSlots = 8   // of a backend whose slots are learned
	mostSlots  = 256 // that are learned; vLLM's own default of max_num_seqs
)

// Config is a pool's: interchangeable backends with one queue.
type Config struct {
	Backends []BackendConfig
	Fixed    bool          // no slow controller: beta stays at 0.85
	ITL      time.Duration // median time between the tokens of a sequence that slots are taken back for; 0: none
	Anywhere bool          // no backend is preferred for what its prefix cache holds
}

// BackendConfig is one backend of a pool.
type BackendConfig struct {
	URL   string // its only key
	Slots int    // sequences that may run there; 0: learned, 8 at first and at most 256
	// KVTokens bounds its KV cache, in tokens; 0: as large as Observe says. Of
	// what is configured and what is observed the smaller counts.
	KVTokens int
	Draining bool // it takes nothing new, finishes what it runs, and stays
}

// Demand is what one request asks for.
type Demand struct {
	Sequences int    // slots; less than 1 counts as 1
	Input     int    // prompt tokens, of all sequences together
	Cached    int    // of these, expected in the prefix cache
	Expected  int    // output tokens of one sequence; 0: it generates nothing (embeddings, scores)
	Stream    bool   // its first token will be told
	Group     uint64 // prefix group; 0: none
	Chat      string // conversation; empty: none
	Alone     bool   // a crash suspect: it needs an idle backend, and nothing joins it
	Avoid     string // URL of the backend that has just failed it: others first
	Faulted   bool   // an attempt at it failed: others probe a backend first
}

const (
	mostTokens    = 1 << 32 // bounds that keep sums of nonsense from overflowing
	mostSequences = 1 << 20
)

func (d Demand) clamped() Demand {
	d.Sequences = min(max(d.Sequences, 1), mostSequences)
	d.Input = min(max(d.Input, 0), mostTokens)
	d.Cached = min(max(d.Cached, 0), d.Input)
	d.Expected = min(max(d.Expected, 0), mostTokens)
	return d
}

// uncached is the part of the prompts that has to be prefilled, in tokens.
func (d *Demand) uncached() int { return d.Input - d.Cached }

// prompt is the share of one sequence in the prompts, in tokens.
func (d *Demand) prompt() int { return (d.Input + d.Sequences - 1) / d.Sequences }

// Verdict says whether a request fits, or what it lacks.
type Verdict int

// The verdicts. Of what several backends say the largest counts.
const (
	Never     Verdict = iota + 1 // it can't fit, whatever ends: refuse it
	NoBackend                    // none takes requests: wait
	NoSlot                       // all slots are in use: nothing may pass it
	// NoKV: no backend has the KV, or (for a suspect, or more sequences than the
	// slots) runs nothing. One is reserved for it; others may pass it, with head
	// false in Fit.
	NoKV
	Gate // it fits but for a moment: prefill gate, or a back-off; nothing may pass it
	Fits
)

// String is the verdict in a word.
func (v Verdict) String() string {
	switch v {
	case Never:
		return "never"
	case NoBackend:
		return "no_backend"
	case NoSlot:
		return "no_slot"
	case NoKV:
		return "no_kv"
	case Gate:
		return "gate"
	case Fits:
		return "fits"
	default:
		return "unknown"
	}
}

// Sample is what a backend's metrics said.
type Sample struct {
	At          time.Time // of the scrape, by the clock of who scraped; tells a new sample from an old one
	Running     int       // sequences, of all its clients
	Waiting     int       // in its own queue
	KVUsage     float64   // 0 to 1
	Preemptions float64   // since it started
	KVTokens    int       // size of its KV cache; 0: unknown
	BlockSize   int       // tokens of a KV block; 0: unknown
	PrefixCache bool      // prefix caching is on
}

// State is a backend as it stands.
type State struct {
	URL      string
	Slots    int     // the cap in force, in sequences
	Running  int     // sequences of ours
	KVHeld   float64 // tokens counted as held, times rho
	KVBudget float64 // tokens that may be held; 0: unknown
	KVTokens int     // size of the KV cache; 0: unknown
	Beta     float64 // part of the KV cache that is budget
	Rho      float64 // KV in use over KV counted
	Prefill  int     // tokens sent that have not brought a first token yet
	Rate     float64 // prefill, in tokens a second
	Up       bool    // takes requests: healthy, not draining, not broken open
	Why      string  // it is not up; empty: it is
	Seen     Sample  // the newest
}
