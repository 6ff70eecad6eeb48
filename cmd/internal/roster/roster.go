package roster

import (
	"context"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"time"

	"fairlane/cmd/internal/config"
	"fairlane/scheduler/loop"
)

// every is the time between two looks at the names and the store.
const every = 5 * time.Second

// Backend is one that a pool has at the moment.
type Backend struct {
	config.Backend

	Name     string // that its certificate is checked against; empty: the URL's
	Draining bool   // it takes nothing new
}

// Memory keeps what operators changed of one pool.
type Memory interface {
	Save(ctx context.Context, b []byte) error
	// Load is what was saved last; nothing, and no error, if that never happened.
	Load(ctx context.Context) ([]byte, error)
}

// Config is a roster's.
type Config struct {
	Memory   map[string]Memory // by pool; none for a pool: operators can't change it
	Lookup   Lookup            // nil: the system's
	OnChange func()            // something is not as it was; not called by Configure
	Logger   *slog.Logger
}

// Roster knows the backends of all pools of a process.
type Roster struct {
	cfg     Config
	writing sync.Mutex // one change of the store at a time

	mu      sync.Mutex
	pools   []config.Pool
	names   map[string]*name
	changes map[string][]change // by pool
	now     map[string][]Backend

	watching loop.Loop
}

// New makes a roster; Configure fills it, and Start keeps it up to date.
func New(cfg Config) *Roster {
	if cfg.Lookup == nil {
		cfg.Lookup = net.DefaultResolver.LookupHost
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.OnChange == nil {
		cfg.OnChange = func() {}
	}
	return &Roster{cfg: cfg, names: map[string]*name{}, changes: map[string][]change{}, now: map[string][]Backend{}}
}

// Configure takes the pools of a configuration. Names that are new are looked up
// before it returns, for 2 s at most.
func (r *Roster) Configure(ctx context.Context, pools []config.Pool) {
	r.mu.Lock()
	first := r.pools == nil
	r.pools = pools
	var fresh []string
	for host := range r.hostsLocked() {
		if r.names[host] == nil {
			fresh = append(fresh, host)
		}
	}
	r.mu.Unlock()
	if first {
		r.recall(ctx)
	}
	r.lookUp(ctx, fresh)
	r.mu.Lock()
	defer r.mu.Unlock()
	for host := range r.names {
		if !r.hostsLocked()[host] {
			delete(r.names, host)
		}
	}
	r.rebuildLocked()
}

// Backends are those of a pool, what drains included. The slice is not to be
// changed.
func (r *Roster) Backends(pool string) []Backend {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now[pool]
}

// Start begins to look at the names and the store. A second Start is nothing.
func (r *Roster) Start(ctx context.Context) { r.watching.Start(ctx, r.watch) }

// Stop ends that. A second Stop is nothing.
func (r *Roster) Stop() { r.watching.Stop() }

func (r *Roster) watch(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.look(ctx)
		}
	}
}

// look brings the roster up to date.
func (r *Roster) look(ctx context.Context) {
	r.mu.Lock()
	var hosts []string
	for host := range r.hostsLocked() {
		hosts = append(hosts, host)
	}
	r.mu.Unlock()
	r.lookUp(ctx, hosts)
	r.recall(ctx)
	if ctx.Err() == nil {
		r.rebuild()
	}
}

func (r *Roster) lookUp(ctx context.Context, hosts []string) {
	var wg sync.WaitGroup
	for _, host := range hosts {
		wg.Go(func() { r.resolve(ctx, host) })
	}
	wg.Wait()
}

// hostsLocked are the names of all pools.
func (r *Roster) hostsLocked() map[string]bool {
	out := map[string]bool{}
	for _, p := range r.pools {
		for _, b := range p.Backends {
			if host := hostOf(b); host != "" {
				out[host] = true
			}
		}
	}
	return out
}

// rebuild works out what there is now, and tells if it is not as it was.
func (r *Roster) rebuild() {
	r.mu.Lock()
	changed := r.rebuildLocked()
	r.mu.Unlock()
	if changed {
		r.cfg.OnChange()
	}
}

func (r *Roster) rebuildLocked() (changed bool) {
	taken := map[string]string{} // the pool that has a URL
	now := make(map[string][]Backend, len(r.pools))
	for _, p := range r.pools {
		var list []Backend
		for _, b := range r.poolLocked(p) {
			if other, twice := taken[b.URL]; twice {
				if other != p.Name {
					r.cfg.Logger.Warn("a backend is in two pools: its slots would be given away twice, so the first has it",
						slog.String("backend", b.URL), slog.String("pool", other), slog.String("not_in", p.Name))
				}
				continue
			}
			taken[b.URL] = p.Name
			list = append(list, b)
		}
		now[p.Name] = list
	}
	changed = !reflect.DeepEqual(r.now, now)
	r.now = now
	return changed
}

// poolLocked is what a pool has, before it is known what another one has.
func (r *Roster) poolLocked(p config.Pool) []Backend {
	out := r.fileLocked(p)
	for _, c := range r.changes[p.Name] {
		out = c.apply(out, p)
	}
	return out
}

// fileLocked is what the configuration says, with the names looked up.
func (r *Roster) fileLocked(p config.Pool) []Backend {
	var out []Backend
	for _, b := range p.Backends {
		host := hostOf(b)
		if host == "" {
			out = append(out, Backend{Backend: b})
			continue
		}
		if n := r.names[host]; n != nil {
			for _, address := range n.addresses() {
				out = append(out, at(b, address))
			}
		}
	}
	return out
}
