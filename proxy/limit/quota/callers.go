package quota

import (
	"maps"
	"sync"
	"sync/atomic"

	"fairlane/proxy/identity"
)

// caller is somebody who came lately.
type caller struct {
	id   atomic.Pointer[identity.Identity]
	seen atomic.Int64    // unix seconds
	read <-chan struct{} // closed when it is known what is set for them; nil: it is
}

const (
	mostCallers = 1 << 15 // of a generation
	lately      = 60      // seconds
)

// callers are those who came lately, in two generations: whoever did not come while
// a whole one filled is forgotten, and is new when they come again. So their number
// is bounded, and nobody ever looks through all of them to make room.
type callers struct {
	most int // of a generation

	mu       sync.RWMutex
	now, old map[string]*caller // by user key and key
	turned   int64              // when now began, unix seconds
}

// known notes that somebody came who is known, with who they are now; nil: they are
// as good as new.
func (c *callers) known(name string, id *identity.Identity, now int64) *caller {
	c.mu.RLock()
	known := c.now[name]
	c.mu.RUnlock()
	if known == nil || known.seen.Load() < now-lately {
		return nil
	}
	known.id.Store(id)
	known.seen.Store(now)
	return known
}

// enter puts somebody into the generation of now. Of somebody new read begins to
// read, once: whoever has not come for a minute is as good as new.
func (c *callers) enter(name string, id *identity.Identity, now int64, read func() <-chan struct{}) *caller {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.now[name]
	if known == nil {
		known = c.old[name]
		delete(c.old, name)
	}
	if known == nil || known.seen.Load() < now-lately {
		known = &caller{read: read()}
	}
	known.id.Store(id)
	known.seen.Store(now)
	if len(c.now) >= c.most || now-c.turned > lately {
		c.now, c.old, c.turned = map[string]*caller{}, c.now, now
	}
	c.now[name] = known
	return known
}

// since are those who came since a time in unix seconds.
func (c *callers) since(then int64) []*identity.Identity {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]*identity.Identity, 0, len(c.now)+len(c.old))
	for _, generation := range []map[string]*caller{c.now, c.old} {
		for one := range maps.Values(generation) {
			if id := one.id.Load(); id != nil && one.seen.Load() >= then {
				out = append(out, id)
			}
		}
	}
	return out
}
