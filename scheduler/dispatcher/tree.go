package dispatcher

import (
	"cmp"
	"slices"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

func newQueue(p *Policy) (*fairqueue.Queue, error) {
	cfg := fairqueue.Config{Depth: len(p.Share)}
	for _, t := range p.Tiers {
		cfg.Floors = append(cfg.Floors, t.Floor)
	}
	return fairqueue.New(cfg)
}

// tier is the number of the class's, that of the last for those that none names.
func (p *Policy) tier(class string) int {
	if i := slices.IndexFunc(p.Tiers, func(t Tier) bool { return slices.Contains(t.Classes, class) }); i >= 0 {
		return i
	}
	return len(p.Tiers)
}

// byUser reports whether a user is one, whatever its requests' classes.
func (p *Policy) byUser() bool { return p.Share[0] != "class" }

// path is an entry's way through the tree.
func (l *leader) path(e *scheduler.Entry) []fairqueue.Step {
	class, own := l.policy.weight(e.Class), e.UserWeight
	if own <= 0 {
		own = 1
	}
	steps := make([]fairqueue.Step, 0, len(l.policy.Share))
	for _, level := range l.policy.Share {
		switch level {
		case "class":
			steps = append(steps, fairqueue.Step{Key: e.Class, Weight: class})
		case "group":
			steps = append(steps, fairqueue.Step{Key: e.Group, Weight: 1})
		default:
			if l.policy.byUser() {
				own *= class
			}
			steps = append(steps, fairqueue.Step{Key: e.User, Weight: own})
		}
	}
	return steps
}

// reweigh lets the weights of the classes count from the next dispatch, also of
// users who are no class's and do not ask again.
func (l *leader) reweigh() {
	if !l.policy.byUser() {
		for name := range l.policy.Classes {
			l.queue.SetWeight([]string{name}, l.policy.weight(name))
		}
		return
	}
	for _, it := range l.arrived() {
		step := l.path(it.entry)[0]
		l.queue.SetWeight([]string{step.Key}, step.Weight)
	}
}

// arrived are the items that wait, as they came.
func (l *leader) arrived() []*item {
	var out []*item
	for _, it := range l.items {
		if it.waits() && it.req.Queued() {
			out = append(out, it)
		}
	}
	slices.SortFunc(out, func(a, b *item) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.entry.ID, b.entry.ID))
	})
	return out
}

// reshape moves everything into a queue of another tree, if that is what changed.
// Debts go along where the tree has the same levels.
func (l *leader) reshape(was *Policy) {
	p := &l.policy
	sameShare := slices.Equal(was.Share, p.Share)
	if sameShare && slices.EqualFunc(was.Tiers, p.Tiers, func(a, b Tier) bool { return a.Floor == b.Floor && slices.Equal(a.Classes, b.Classes) }) {
		return
	}
	q, err := newQueue(p)
	if err != nil { // refused where the policy was read
		p.Share, p.Tiers = was.Share, was.Tiers
		return
	}
	if sameShare && !p.byUser() {
		debts := l.queue.Export()
		for i := range debts {
			debts[i].Tier = p.tier(debts[i].Path[0])
		}
		q.Import(debts)
	}
	waiting := l.arrived()
	for _, it := range l.items {
		if it.run != nil {
			charged := it.req.Charged()
			it.req = l.requestOf(it, it.run.input)
			q.Adopt(&it.req, l.path(it.entry), userOf(it.entry), nil, charged)
		}
	}
	for _, it := range waiting {
		estimate := it.req.Estimate // as it was counted
		it.req = l.requestOf(it, l.estimate.input(it.entry))
		it.req.Estimate = estimate
		q.Push(&it.req, l.path(it.entry), userOf(it.entry))
	}
	l.queue = q
}
