package app

import (
	"slices"
	"sync"
	"sync/atomic"

	"fairlane/cmd/internal/config"
	"fairlane/proxy"
	"fairlane/scheduler"
	"fairlane/scheduler/vllm"
)

// catalog keeps the models of now. What a pool serves stays known while its
// backends are down: its requests wait for them.
type catalog struct {
	fleet *vllm.Fleet
	now   atomic.Pointer[proxy.Catalog]

	mu    sync.Mutex
	pools []config.Pool
	known map[string][]scheduler.Model // by pool, as last seen up
}

func newCatalog(fleet *vllm.Fleet, pools []config.Pool) *catalog {
	c := &catalog{fleet: fleet, pools: pools, known: map[string][]scheduler.Model{}}
	c.refresh()
	return c
}

func (c *catalog) current() *proxy.Catalog { return c.now.Load() }

// configure takes the pools of a new configuration.
func (c *catalog) configure(pools []config.Pool) {
	c.mu.Lock()
	c.pools = pools
	c.mu.Unlock()
	c.refresh()
}

// refresh makes the catalog anew from what the backends say.
func (c *catalog) refresh() {
	c.mu.Lock()
	defer c.mu.Unlock()
	offers := make([]proxy.Offer, len(c.pools))
	for i, p := range c.pools {
		offers[i] = c.offerLocked(p)
	}
	c.now.Store(proxy.NewCatalog(offers))
}

func (c *catalog) offerLocked(p config.Pool) proxy.Offer {
	if seen := served(c.fleet.Statuses(p.Name)); len(seen) > 0 {
		c.known[p.Name] = seen
	}
	models := c.known[p.Name]
	o := proxy.Offer{Pool: p.Name, Aliases: p.Aliases, Models: models, Learning: len(models) == 0 && len(p.Models) == 0}
	if len(p.Models) > 0 {
		o.Models = configured(p.Models, models)
	}
	return o
}

// served are the models that backends which are up have, each once.
func served(statuses []scheduler.BackendStatus) []scheduler.Model {
	var out []scheduler.Model
	for _, s := range statuses {
		for _, m := range s.Models {
			if s.Up && !slices.ContainsFunc(out, func(o scheduler.Model) bool { return o.ID == m.ID }) {
				out = append(out, m)
			}
		}
	}
	return out
}

// configured are the named models, with what the backends say of them.
func configured(names []string, seen []scheduler.Model) []scheduler.Model {
	out := make([]scheduler.Model, len(names))
	for i, name := range names {
		out[i] = scheduler.Model{ID: name}
		if at := slices.IndexFunc(seen, func(m scheduler.Model) bool { return m.ID == name }); at >= 0 {
			out[i] = seen[at]
		}
	}
	return out
}
