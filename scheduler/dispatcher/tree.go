package dispatcher

import (
	"cmp"
	"slices"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/turn"
)

// turn is the part of the policy that decides who is next.
func (p *Policy) turn(cost scheduler.CostWeights) turn.Policy {
	out := turn.Policy{Share: p.Share, Classes: make(map[string]turn.Class, len(p.Classes)), Cost: cost}
	for name, c := range p.Classes {
		out.Classes[name] = turn.Class{Weight: c.Weight, Headroom: c.Headroom, Newest: c.CoDel}
	}
	for _, t := range p.Tiers {
		out.Tiers = append(out.Tiers, turn.Tier(t))
	}
	return out
}

// arrived are the requests that wait, as they came.
func (l *leader) arrived() []*fairqueue.Request {
	var items []*item
	for _, it := range l.items {
		if it.waits() && it.req.Queued() {
			items = append(items, it)
		}
	}
	slices.SortFunc(items, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.entry.ID, b.entry.ID))
	})
	out := make([]*fairqueue.Request, len(items))
	for i, it := range items {
		out[i] = &it.req
	}
	return out
}

// flying are the requests in flight.
func (l *leader) flying() (out []*fairqueue.Request) {
	for _, it := range l.items {
		if it.run != nil {
			out = append(out, &it.req)
		}
	}
	return out
}
