package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/cmd/internal/config"
	"fairlane/cmd/internal/roster"
	"fairlane/loadtest/vllmsim"
	"fairlane/proxy/admin"
	"fairlane/scheduler/broker"
	"fairlane/scheduler/dispatcher"
	"fairlane/scheduler/vllm"
	"fairlane/scheduler/worker"
)

// Options say what to run.
type Options struct {
	ConfigPath string // empty: the defaults
	VLLM       string // URL of the backend, instead of the configured ones of the first pool; empty: as configured
	Roles      []Role // empty: all
	Env        func(string) (string, bool)
	Stdout     io.Writer     // where it says where it listens
	Stderr     io.Writer     // the log
	Lookup     roster.Lookup // finds the addresses of dns+http:// names; nil: the system's
}

// App is one process.
type App struct {
	opts    Options
	log     *slog.Logger
	level   *slog.LevelVar
	reg     *prometheus.Registry
	metrics *metrics
	started time.Time

	sim         *vllmsim.Server // nil: there is a backend
	broker      *broker.Broker
	streams     map[string]*broker.Stream
	roster      *roster.Roster
	fleet       *vllm.Fleet
	catalog     *catalog
	dispatchers map[string]*dispatcher.Dispatcher
	worker      *worker.Worker
	edge        *edge
	admin       *admin.Server
	receipts    receipts
	stops       []func() // of what was started, in that order
	stopped     sync.Once

	applying sync.Mutex // one change of what runs at a time

	mu        sync.Mutex // guards what a reload changes
	cfg       *config.Config
	loadedAt  time.Time
	loadError error
	draining  bool
}

// New reads the configuration; nothing runs yet.
func New(opts Options) (*App, error) {
	if len(opts.Roles) == 0 {
		opts.Roles = AllRoles()
	}
	a := &App{
		opts: opts, reg: prometheus.NewRegistry(), level: &slog.LevelVar{}, started: time.Now(),
		fleet: vllm.NewFleet(), streams: map[string]*broker.Stream{}, dispatchers: map[string]*dispatcher.Dispatcher{},
	}
	cfg, err := a.read()
	if err != nil {
		return nil, err
	}
	a.cfg, a.loadedAt = cfg, a.started
	a.level.Set(cfg.Log.Level)
	a.log = newLogger(opts.Stderr, cfg.Log, a.level)
	if cfg.NATS.URL == "" && len(opts.Roles) < len(AllRoles()) {
		return nil, errors.New("--roles: a part of the roles needs nats.url, for the parts meet at a NATS server")
	}
	if a.metrics, err = newMetrics(a.reg); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return a, nil
}

func newLogger(w io.Writer, cfg config.LogConfig, level slog.Leveler) *slog.Logger {
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func (a *App) has(role Role) bool { return slices.Contains(a.opts.Roles, role) }

// Run serves until ctx ends, and then stops in order.
func (a *App) Run(ctx context.Context) error {
	if err := a.Start(ctx); err != nil {
		return err
	}
	a.banner()
	<-ctx.Done()
	a.Stop()
	return nil
}

// Start starts everything. After an error nothing runs.
func (a *App) Start(ctx context.Context) error {
	steps := []func(context.Context) error{
		a.startEmulator, a.startBroker, a.startReceipts, a.makeRoster, a.makeWorker, a.startFleet, a.startDispatchers, a.startWorker, a.startEdge, a.startRoster, a.startAdmin,
		a.startReloads,
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			a.Stop()
			return err
		}
	}
	return nil
}

// onStop remembers how to stop what was just started.
func (a *App) onStop(f func()) { a.stops = append(a.stops, f) }

// Stop drains, within http.shutdown_grace, and ends everything. A second Stop is
// nothing.
func (a *App) Stop() {
	a.stopped.Do(func() {
		a.mu.Lock()
		a.draining = true
		grace := a.cfg.Edge.Grace
		a.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		a.drain(ctx)
		for _, stop := range slices.Backward(a.stops) {
			stop()
		}
	})
}

// drain refuses what comes and what waits, and lets finish what runs.
func (a *App) drain(ctx context.Context) {
	if a.edge != nil {
		a.log.InfoContext(ctx, "draining: new and waiting requests are refused, running ones finish")
		a.edge.server.Drain()
	}
	var wg sync.WaitGroup
	if a.worker != nil {
		wg.Go(func() { a.worker.Drain(ctx) })
	}
	if a.edge != nil {
		a.edge.server.Stop(ctx)
	}
	wg.Wait()
}
