package proxy

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

const (
	// holdLoad is how long the last level of a pool counts when nothing more is heard of
	// it; then it goes by one towards 0 every easeLoad, so that nobody's limits jump.
	holdLoad = 10 * time.Second
	easeLoad = time.Second
)

// LoadsConfig is what [NewLoads] needs.
type LoadsConfig struct {
	Pools   []string
	Rules   func() []policy.Following // of now, for the metric
	Metrics prometheus.Registerer     // nil: none
	Logger  *slog.Logger
}

// Loads is how loaded the pools are, as those who lead them tell it: the same in every
// process that hears it. Of a pool of which nothing is heard it is 0 after a while, where
// limits are as written.
type Loads struct {
	cfg   LoadsConfig
	gauge *prometheus.Desc

	mu    sync.Mutex
	pools map[string]*load
}

// load is what was heard of a pool.
type load struct {
	level int
	at    time.Time
	lost  bool // and that was said
}

// NewLoads begins with every pool at 0. An error says that the metric could not be
// registered.
func NewLoads(cfg LoadsConfig) (*Loads, error) {
	l := &Loads{cfg: cfg, pools: map[string]*load{}, gauge: prometheus.NewDesc(
		"fairlane_limit_factor", "What the limits of a rule that follow the load are multiplied by; the same in every process.", []string{"pool", "rule"}, nil)}
	now := time.Now()
	for _, pool := range cfg.Pools {
		l.pools[pool] = &load{at: now}
	}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(l); err != nil {
			return nil, fmt.Errorf("metrics of the load: %w", err)
		}
	}
	return l, nil
}

// Hear takes what the leader of a pool tells.
func (l *Loads) Hear(pool string, level int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pools[pool]
	if p == nil {
		return
	}
	if p.lost {
		l.cfg.Logger.Info("how loaded the pool is can be heard again; limits follow it", slog.String("pool", pool))
	}
	*p = load{level: min(max(level, -scheduler.MostLoad), scheduler.MostLoad), at: time.Now()}
}

// Level is how loaded a pool is, from -[scheduler.MostLoad] to [scheduler.MostLoad].
func (l *Loads) Level(pool string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pools[pool]
	if p == nil {
		return 0
	}
	silence := time.Since(p.at)
	if silence < holdLoad {
		return p.level
	}
	if !p.lost {
		p.lost = true
		l.cfg.Logger.Warn("nothing is heard of how loaded the pool is; limits that follow it go back to what is written", slog.String("pool", pool))
	}
	eased := int((silence-holdLoad)/easeLoad) + 1
	if p.level < 0 {
		return min(p.level+eased, 0)
	}
	return max(p.level-eased, 0)
}

// Describe implements prometheus.Collector.
func (l *Loads) Describe(ch chan<- *prometheus.Desc) { ch <- l.gauge }

// Collect implements prometheus.Collector. Rules of one name are told once.
func (l *Loads) Collect(ch chan<- prometheus.Metric) {
	rules := l.cfg.Rules()
	if len(rules) == 0 {
		return
	}
	for _, pool := range l.cfg.Pools {
		level, told := l.Level(pool), map[string]bool{}
		for _, r := range rules {
			if !told[r.Rule] {
				told[r.Rule] = true
				ch <- prometheus.MustNewConstMetric(l.gauge, prometheus.GaugeValue, r.Factor(level), pool, r.Rule)
			}
		}
	}
}
