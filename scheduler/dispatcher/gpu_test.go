package dispatcher

import (
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"fairlane/scheduler"
)

// gpu is a model server on fake time: prefill at a rate, then tokens at a pace.
type gpu struct {
	url     string
	rate    float64       // prefill, tokens a second
	pace    time.Duration // a token
	metrics bool

	mu          sync.Mutex
	up          bool
	max         int // sequences; above it answers 503. 0: no bound
	running     int
	peak        int
	kv          int // its size in tokens; 0: it tells none
	preemptions float64
	starts      []string                              // ids, in order
	died        chan struct{}                         // closed at its death
	poison      func(id string) bool                  // what kills it
	fails       func(id string) bool                  // what it answers 500
	usage       func(scheduler.Usage) scheduler.Usage // what it says of what it served; nil: the truth
}

func newGPU(url string) *gpu {
	return &gpu{url: url, rate: 100_000, pace: 10 * time.Millisecond, up: true, died: make(chan struct{})}
}

func (g *gpu) status() scheduler.BackendStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := scheduler.BackendStatus{URL: g.url, Up: g.up}
	if g.metrics && g.up {
		s.Scrape = &scheduler.Scrape{At: time.Now(), Running: g.running, KVUsage: math.NaN(), KVTokens: g.kv, BlockSize: 16, Preemptions: g.preemptions}
	}
	return s
}

func (g *gpu) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.up {
		g.up = false
		close(g.died)
	}
}

func (g *gpu) revive() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.up, g.died, g.preemptions = true, make(chan struct{}), 0
}

// set changes it while it serves.
func (g *gpu) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// most is the number of sequences that it has run at once.
func (g *gpu) most() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.peak
}

// prefill is how long a prompt takes.
func (g *gpu) prefill(tokens int) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return time.Duration(float64(tokens) / g.rate * float64(time.Second))
}

var (
	errRefused = errors.New("connection refused")
	errFull    = errors.New("503")
	errFailed  = errors.New("500")
)

// start takes a request; what it returns is closed when the server dies.
func (g *gpu) start(id string, sequences int) (died <-chan struct{}, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.up:
		return nil, errRefused
	case g.max > 0 && g.running+sequences > g.max:
		return nil, errFull
	case g.fails != nil && g.fails(id):
		return nil, errFailed
	}
	g.starts = append(g.starts, id)
	g.running += sequences
	g.peak = max(g.peak, g.running)
	died = g.died
	if g.poison != nil && g.poison(id) {
		g.up = false
		close(g.died)
	}
	return died, nil
}

func (g *gpu) stop(sequences int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running -= sequences
}

func (g *gpu) started() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.starts)
}
