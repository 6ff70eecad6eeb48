package roster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"fairlane/cmd/internal/config"
	"fairlane/proxy/admin"
)

// The states that an operator may give a backend.
const (
	added   = "added"
	drained = "drained"
	removed = "removed"
)

// change is what an operator said of one backend.
type change struct {
	URL   string `json:"url"`
	State string `json:"state"`
	Ours  bool   `json:"ours,omitempty"` // it was added, the file does not list it
	// Of what was added, as in the configuration.
	Slots    int `json:"slots,omitempty"`
	KVTokens int `json:"kv_tokens,omitempty"`
}

// apply is a pool's list with the change.
func (c change) apply(list []Backend, p config.Pool) []Backend {
	i := slices.IndexFunc(list, func(b Backend) bool { return b.URL == c.URL })
	if c.Ours && i < 0 {
		b := Backend{Backend: config.Backend{URL: c.URL, Slots: c.Slots, KVTokens: c.KVTokens}}
		if len(p.Backends) > 0 {
			b.APIKey = p.Backends[0].APIKey
		}
		list, i = append(list, b), len(list)
	}
	switch {
	case i < 0: // the file does not list it any more
	case c.State == drained:
		list[i].Draining = true
	case c.State == removed:
		list = slices.Delete(list, i, i+1)
	}
	return list
}

// recall reads what operators changed, here or in another process. What can't be
// read stays as it was.
func (r *Roster) recall(ctx context.Context) {
	for pool, m := range r.cfg.Memory {
		list, err := load(ctx, m)
		if err != nil {
			r.cfg.Logger.DebugContext(ctx, "the changes of a pool's backends can't be read", slog.String("pool", pool), slog.Any("error", err))
			continue
		}
		r.mu.Lock()
		r.changes[pool] = list
		r.mu.Unlock()
	}
}

func load(ctx context.Context, m Memory) ([]change, error) {
	b, err := m.Load(ctx)
	if err != nil || len(b) == 0 {
		return nil, err
	}
	var list []change
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("what operators changed: %w", err)
	}
	return list, nil
}

// Add gives a pool one more backend, or takes one back that was drained or removed.
func (r *Roster) Add(ctx context.Context, pool string, b admin.NewBackend) error {
	url, err := config.BackendURL(b.URL)
	if err != nil {
		return fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	if strings.HasPrefix(url, dnsPrefix) {
		return fmt.Errorf("%w: a name with several addresses belongs into the file", admin.ErrInvalid)
	}
	if other := r.holder(url); other != "" && other != pool {
		return fmt.Errorf("%w: the pool %s has it already", admin.ErrInvalid, other)
	}
	listed := r.listed(pool, url)
	return r.change(ctx, pool, func(list []change) ([]change, error) {
		list = without(list, url)
		if !listed {
			list = append(list, change{URL: url, State: added, Ours: true, Slots: b.Slots, KVTokens: b.KVTokens})
		}
		return list, nil
	})
}

// holder is the pool that has a backend; empty: none.
func (r *Roster) holder(url string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for pool, list := range r.now {
		if slices.ContainsFunc(list, func(b Backend) bool { return b.URL == url }) {
			return pool
		}
	}
	return ""
}

// Drain lets a backend finish what it runs, and gives it nothing new.
func (r *Roster) Drain(ctx context.Context, pool, url string) error {
	return r.mark(ctx, pool, url, drained)
}

// Resume takes that back.
func (r *Roster) Resume(ctx context.Context, pool, url string) error {
	return r.mark(ctx, pool, url, added)
}

// Remove drains a backend and forgets it.
func (r *Roster) Remove(ctx context.Context, pool, url string) error {
	return r.mark(ctx, pool, url, removed)
}

// mark gives a backend of a pool another state.
func (r *Roster) mark(ctx context.Context, pool, url, state string) error {
	if short, err := config.BackendURL(url); err == nil {
		url = short
	}
	there := r.holder(url) == pool
	return r.change(ctx, pool, func(list []change) ([]change, error) {
		if !there {
			return nil, fmt.Errorf("%w: the pool %s has no backend %s", admin.ErrNotFound, pool, url)
		}
		c := change{URL: url}
		if i := slices.IndexFunc(list, func(c change) bool { return c.URL == url }); i >= 0 {
			c = list[i]
		}
		c.State = state
		list = without(list, url)
		if c.Ours && state == removed || !c.Ours && state == added {
			return list, nil // as if nobody had said anything
		}
		return append(list, c), nil
	})
}

// change writes a pool's changes anew, and takes them at once. The last of two
// operators who do so at the same moment counts.
func (r *Roster) change(ctx context.Context, pool string, f func([]change) ([]change, error)) error {
	m := r.cfg.Memory[pool]
	if m == nil {
		return fmt.Errorf("%w: there is no pool %q", admin.ErrNotFound, pool)
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	list, err := load(ctx, m)
	if err != nil {
		return err
	}
	if list, err = f(list); err != nil {
		return err
	}
	b, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := m.Save(ctx, b); err != nil {
		return err
	}
	r.mu.Lock()
	r.changes[pool] = list
	r.mu.Unlock()
	r.rebuild()
	return nil
}

func without(list []change, url string) []change {
	return slices.DeleteFunc(slices.Clone(list), func(c change) bool { return c.URL == url })
}

// listed reports whether the file has a backend of a pool, or a name of it has
// that address, whatever operators say.
func (r *Roster) listed(pool, url string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.pools, func(p config.Pool) bool { return p.Name == pool })
	return i >= 0 && slices.ContainsFunc(r.fileLocked(r.pools[i]), func(b Backend) bool { return b.URL == url })
}
