package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"fairlane/cmd/internal/config"
	"fairlane/proxy/policy"
	"fairlane/scheduler/dispatcher"
)

const (
	settle = 200 * time.Millisecond // that a changed file is left alone: editors write in steps
	// overlook is how long at most, for something else may be written beside it all the
	// time, as a log.
	overlook = time.Second
)

// read reads the configuration as this process is told to run it.
func (a *App) read() (*config.Config, error) {
	cfg, err := config.Load(a.opts.ConfigPath, a.opts.Env)
	if err != nil {
		return nil, err
	}
	if a.opts.VLLM != "" {
		b, err := config.ParseBackend(a.opts.VLLM)
		if err != nil {
			return nil, err
		}
		cfg.Pools[0].Backends = []config.Backend{b}
	}
	return cfg, nil
}

// startReloads watches SIGHUP and the files.
func (a *App) startReloads(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		cancel()
		return fmt.Errorf("watch the configuration: %w", err)
	}
	a.watch(watcher)
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.reloads(ctx, hup, watcher)
	}()
	a.onStop(func() {
		signal.Stop(hup)
		cancel()
		<-done
		_ = watcher.Close() // nothing is left to be done about it
	})
	return nil
}

// watch looks at the folders of the files, for files are replaced rather than
// written.
func (a *App) watch(watcher *fsnotify.Watcher) {
	for _, f := range a.current().Files {
		if err := watcher.Add(filepath.Dir(f)); err != nil {
			a.log.Warn("changes of a file are not noticed: SIGHUP reloads", slog.String("file", f), slog.Any("error", err))
		}
	}
}

func (a *App) reloads(ctx context.Context, hup <-chan os.Signal, watcher *fsnotify.Watcher) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	seen, since := digests(a.current().Files), time.Time{} // when something there changed first
	touched := func() {
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < overlook {
			timer.Reset(settle)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			seen = a.reread()
			a.watch(watcher)
		case <-watcher.Events:
			touched()
		case err := <-watcher.Errors: // whatever it was, the files may have changed
			a.log.DebugContext(ctx, "the watch of the files reports an error", slog.Any("error", err))
			touched()
		case <-timer.C:
			since = time.Time{}
			if !maps.Equal(seen, digests(a.current().Files)) {
				seen = a.reread()
				a.watch(watcher)
			}
		}
	}
}

// reread reloads, and tells what the files were just before, so that what is
// written meanwhile is read again. A file that is named only now was read just now.
func (a *App) reread() map[string]sum {
	before := digests(a.current().Files)
	a.Reload()
	seen := digests(a.current().Files)
	for f := range seen {
		if d, known := before[f]; known {
			seen[f] = d
		}
	}
	return seen
}

// sum is what tells one content of a file from another.
type sum [sha256.Size]byte

// digests are the files with their sums, by which one sees that they have changed.
func digests(files []string) map[string]sum {
	out := make(map[string]sum, len(files))
	for _, f := range files {
		b, err := os.ReadFile(f) //nolint:gosec // named by the administrator
		out[f] = sha256.Sum256(fmt.Appendf(b, " %v", err))
	}
	return out
}

func (a *App) current() *config.Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cfg
}

// Reload reads the configuration and takes what may change while the process
// runs. After an error everything is as it was.
func (a *App) Reload() {
	changed, err := a.reload()
	a.metrics.reloaded(err)
	a.mu.Lock()
	a.loadedAt, a.loadError = time.Now(), err
	a.mu.Unlock()
	if err != nil {
		a.log.Error("the configuration is not taken, the one before stays in force", slog.Any("error", err))
		return
	}
	a.log.Info("the configuration was reloaded", slog.String("changed", strings.Join(changed, ", ")))
}

// reload returns the keys that have other values now.
func (a *App) reload() ([]string, error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	old := a.current()
	next, err := a.read()
	if err != nil {
		return nil, err
	}
	later := old.Restart(next)
	if len(later) > 0 {
		a.log.Warn("some changes take effect after a restart", slog.String("keys", strings.Join(later, ", ")))
	}
	next = a.merge(old, next)
	a.roster.Configure(context.Background(), next.Pools)
	if err := a.takeOver(next); err != nil {
		a.roster.Configure(context.Background(), old.Pools)
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cfg = next
	return slices.DeleteFunc(old.Hot(next), func(key string) bool { return slices.Contains(later, key) }), nil
}

// takeOver lets everybody have the next configuration, or nobody.
func (a *App) takeOver(next *config.Config) error {
	rules, err := policy.New(next.Policy)
	if err != nil {
		return err
	}
	policies, err := a.policies(next)
	if err != nil {
		return err
	}
	if err := a.swap(next, rules); err != nil {
		return err
	}
	for pool, p := range policies {
		a.dispatchers[pool].Apply(p)
	}
	return nil
}

// merge is the old configuration with what of the next one may change now.
func (a *App) merge(old, next *config.Config) *config.Config {
	out := *old
	out.Policy, out.Edge.MaxBytes, out.Edge.QueueStatus, out.Files = next.Policy, next.Edge.MaxBytes, next.Edge.QueueStatus, next.Files
	out.Identity, _ = old.Identity.Rekey(next.Identity)
	out.Took(next)
	out.Share, out.Tiers, out.Load, out.Warnings = next.Share, next.Tiers, next.Load, next.Warnings
	out.Pools = slices.Clone(old.Pools)
	for i := range out.Pools {
		at := slices.IndexFunc(next.Pools, func(p config.Pool) bool { return p.Name == out.Pools[i].Name })
		if at >= 0 && (a.sim == nil || len(next.Pools[at].Backends) > 0) {
			out.Pools[i].Backends = next.Pools[at].Backends
		}
	}
	return &out
}

// policies are what the dispatchers get.
func (a *App) policies(next *config.Config) (map[string]dispatcher.Policy, error) {
	out := map[string]dispatcher.Policy{}
	var errs []error
	for _, p := range next.Pools {
		if a.dispatchers[p.Name] == nil {
			continue
		}
		what, err := a.policyOf(next, p)
		errs = append(errs, err)
		out[p.Name] = what
	}
	return out, errors.Join(errs...)
}

// swap changes what the edge and the fleet go by. What can fail comes first.
func (a *App) swap(next *config.Config, rules *policy.Policy) error {
	if a.edge != nil && !a.edge.identifier.OpenMode() {
		if err := a.edge.identifier.SwapKeys(next.Identity.APIKeys, next.Identity.KeyFile); err != nil {
			return err
		}
	}
	if err := a.applyBackends(next); err != nil {
		return err
	}
	a.catalog.configure(next.Pools)
	if a.edge != nil {
		a.edge.decider.now.Store(rules)
		a.edge.server.SetMaxBytes(next.Edge.MaxBytes)
		a.edge.server.SetQueueStatus(next.Edge.QueueStatus)
	}
	return nil
}
