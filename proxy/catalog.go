package proxy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"fairlane/scheduler"
)

// Offer is what one pool serves.
type Offer struct {
	Pool    string
	Models  []scheduler.Model
	Aliases map[string]string // alias → model
	// Learning tells that the models are learned from the backends, and none of
	// them has answered yet.
	Learning bool
}

// Catalog finds the pool of a model. It never changes; who learns of new models
// makes a new one.
type Catalog struct {
	offers []Offer
	where  map[string]place
	models []listed
}

type place struct {
	pool  string
	model string // as the backend knows it
	// longest is the most tokens that the model takes; 0: not known.
	longest int
}

// listed is a row of GET /v1/models.
type listed struct {
	id   string
	of   scheduler.Model
	root string // of an alias: the model behind it
}

// NewCatalog makes a catalog. Where two pools offer a name the first has it.
func NewCatalog(offers []Offer) *Catalog {
	c := &Catalog{offers: offers, where: map[string]place{}}
	for _, o := range offers {
		for _, m := range o.Models {
			c.add(listed{id: m.ID, of: m}, place{o.Pool, m.ID, m.MaxModelLen})
		}
	}
	for _, o := range offers {
		for _, alias := range slices.Sorted(maps.Keys(o.Aliases)) {
			name := o.Aliases[alias]
			i := slices.IndexFunc(o.Models, func(m scheduler.Model) bool { return m.ID == name })
			if i >= 0 {
				c.add(listed{id: alias, of: o.Models[i], root: name}, place{o.Pool, name, o.Models[i].MaxModelLen})
			} else if o.Learning {
				c.where[alias] = place{pool: o.Pool, model: name}
			}
		}
	}
	slices.SortStableFunc(c.models, func(a, b listed) int { return cmp.Compare(a.id, b.id) })
	return c
}

func (c *Catalog) add(l listed, p place) {
	if _, taken := c.where[l.id]; !taken {
		c.where[l.id] = p
		c.models = append(c.models, l)
	}
}

// find is the place of the model that a client named. Named none, the only one
// there is will do, as at vLLM.
func (c *Catalog) find(name string) (place, *scheduler.Problem) {
	if p, ok := c.where[name]; ok && name != "" {
		return p, nil
	}
	if pool, sole := c.learning(); pool != "" {
		if sole {
			return place{pool: pool, model: name}, nil
		}
		return place{}, scheduler.Refusal(scheduler.CodeNoBackend, scheduler.ReasonNoBackend, retryLearning,
			"no model server has answered yet, so it is not known which models there are; please try again in a few seconds")
	}
	if name != "" {
		p := scheduler.Problemf(scheduler.CodeModelNotFound, "the model `%s` does not exist; %s", clip(name), c.known())
		p.Param = "model"
		return place{}, p
	}
	if p, ok := c.only(); ok {
		return p, nil
	}
	p := scheduler.Problemf(scheduler.CodeInvalidRequest, "`model` is missing; %s", c.known())
	p.Param = "model"
	return place{}, p
}

// learning is a pool whose models are not known yet, and whether it is the only
// pool of all.
func (c *Catalog) learning() (pool string, sole bool) {
	for _, o := range c.offers {
		if o.Learning {
			return o.Pool, len(c.offers) == 1
		}
	}
	return "", false
}

// only is the one model there is, whatever aliases it has.
func (c *Catalog) only() (place, bool) {
	var found place
	for _, o := range c.offers {
		for _, m := range o.Models {
			if found.model != "" && found.model != m.ID {
				return place{}, false
			}
			found = place{o.Pool, m.ID, m.MaxModelLen}
		}
	}
	return found, found.model != ""
}

// maxNamed bounds the models that a message names.
const maxNamed = 20

func (c *Catalog) known() string {
	if len(c.models) == 0 {
		return "no model is served here at the moment"
	}
	names := make([]string, 0, maxNamed)
	for _, m := range c.models[:min(len(c.models), maxNamed)] {
		names = append(names, "`"+m.id+"`")
	}
	more := ""
	if len(c.models) > maxNamed {
		more = ", …"
	}
	return "known are " + strings.Join(names, ", ") + more
}

// pools are the names of all pools.
func (c *Catalog) pools() []string {
	out := make([]string, len(c.offers))
	for i, o := range c.offers {
		out[i] = o.Pool
	}
	return out
}

// clip bounds what is echoed of a client's text, in bytes.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:most], "\uFFFD") + "…"
}
