package turn

import "fairlane/scheduler/fairqueue"

// Apply takes another policy. What waits, in the order in which it came, and what
// is in flight move into another tree if that is what changed; debts go along
// where it has the same levels. It fails, and only the tree stays as it was, if the
// new one can't be.
func (d *Decider) Apply(p Policy, waiting, flying []*fairqueue.Request) error {
	was := d.policy
	p = p.WithDefaults()
	if was.SameTree(&p) {
		d.apply(p)
		d.reweigh(waiting)
		return nil
	}
	q, err := p.queue()
	if err != nil {
		p.Share, p.Tiers = was.Share, was.Tiers
		d.apply(p)
		d.reweigh(waiting)
		return err
	}
	d.apply(p)
	if was.SameShare(&p) && !p.ByUser() {
		debts := d.Queue.Export()
		for i := range debts {
			debts[i].Tier = p.Tier(debts[i].Path[0])
		}
		q.Import(debts)
	}
	for _, r := range flying {
		charged := r.Charged()
		d.move(r, func(path []fairqueue.Step, u fairqueue.User) { q.Adopt(r, path, u, nil, charged) })
	}
	for _, r := range waiting {
		d.move(r, func(path []fairqueue.Step, u fairqueue.User) { q.Push(r, path, u) })
	}
	d.Queue = q
	return nil
}

// move puts a request where the policy wants it now. Its estimate stays as it was
// counted.
func (d *Decider) move(r *fairqueue.Request, put func(path []fairqueue.Step, u fairqueue.User)) {
	o, ok := r.Value.(Owner)
	if !ok {
		return
	}
	estimate := r.Estimate
	*r = d.request(o, fairqueue.Input{})
	r.Estimate = estimate
	put(d.place(r, o.Entry()))
}

// reweigh lets the weights of the classes count from the next dispatch, also of
// users who are no class's and do not ask again.
func (d *Decider) reweigh(waiting []*fairqueue.Request) {
	if !d.policy.ByUser() {
		for name := range d.policy.Classes {
			d.Queue.SetWeight([]string{name}, d.policy.Weight(name))
		}
		return
	}
	for _, r := range waiting {
		if o, ok := r.Value.(Owner); ok {
			d.Queue.Reweigh(r, d.policy.Path(o.Entry())[0].Weight)
		}
	}
}
