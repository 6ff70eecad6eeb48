package dispatcher

import (
	"net/url"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// shareWindow is the time over which shares are told, in windows of a tenth.
const (
	shareWindow = time.Minute
	shareSlices = 12
)

// publish makes the snapshot that the gauges serve until the next one.
func (l *leader) publish(now time.Time) {
	g, pool := l.cfg.Metrics.gauges, l.cfg.Pool
	out := []gauge{{g.leader, 1, []string{pool}}, {g.load, float64(l.load.Level()) / scheduler.MostLoad, []string{pool}}}
	for name := range l.policy.Classes {
		l.class(name)
	}
	l.dropClasses()
	for name, c := range l.classes {
		labels := []string{pool, name}
		out = append(out,
			gauge{g.depth, float64(c.queued), labels},
			gauge{g.tokens, float64(c.tokens) / float64(fairqueue.Token), labels},
			gauge{g.oldest, c.age(now).Seconds(), labels})
	}
	running := l.runningByClass()
	for _, b := range l.turn.Pool.Backends() {
		out = append(out, l.backendGauges(b.State(), running)...)
	}
	out = append(out, l.shares(now)...)
	g.set(pool, out)
	l.say(l.standing(now))
}

func (l *leader) backendGauges(s capacity.State, running map[string]map[string]int) []gauge {
	g, labels := l.cfg.Metrics.gauges, []string{l.cfg.Pool, hostOf(s.URL)}
	up := 0.0
	if s.Up {
		up = 1
	}
	out := []gauge{
		{g.up, up, labels},
		{g.slots, float64(s.Slots), labels},
		{g.kv, float64(s.KVHeld), labels},
		{g.budget, float64(s.KVBudget), labels},
		{g.beta, s.Beta, labels},
	}
	for name := range l.classes {
		out = append(out, gauge{g.running, float64(running[s.URL][name]), []string{l.cfg.Pool, hostOf(s.URL), name}})
	}
	return out
}

// runningByClass counts sequences by backend and class.
func (l *leader) runningByClass() map[string]map[string]int {
	out := map[string]map[string]int{}
	for _, w := range l.workers {
		for _, it := range w.running {
			u := it.run.Backend.URL()
			if out[u] == nil {
				out[u] = map[string]int{}
			}
			out[u][it.entry.Class] += it.sequences()
		}
	}
	return out
}

// shares compares the delivered cost of the last minute with what the weights
// of the classes that wanted something entitled them to.
func (l *leader) shares(now time.Time) []gauge {
	if now.Sub(l.sharesAt) >= shareWindow/shareSlices {
		l.sharesAt = now
		for _, c := range l.classes {
			c.slices[l.slice%shareSlices] = c.charge
			c.active[l.slice%shareSlices] = c.charge > 0 || c.queued > 0
			c.charge = 0
		}
		l.slice++
	}
	g := l.cfg.Metrics.gauges
	share, entitled := l.delivered(), l.entitled()
	var out []gauge
	for name := range l.classes {
		labels := []string{l.cfg.Pool, name}
		out = append(out, gauge{g.share, share[name], labels}, gauge{g.entitled, entitled[name], labels})
	}
	return out
}

// delivered are the parts of the cost of the last minute that the classes had.
func (l *leader) delivered() map[string]float64 {
	out, total := map[string]float64{}, 0.0
	for _, c := range l.classes {
		total += float64(c.window())
	}
	for name, c := range l.classes {
		if total > 0 {
			out[name] = float64(c.window()) / total
		}
	}
	return out
}

// entitled are the parts that the weights of the classes, in their tiers, promise
// for the last minute.
func (l *leader) entitled() map[string]float64 {
	out, rest := map[string]float64{}, 1.0
	for i := range len(l.turn.Policy().Tiers) + 1 {
		weights, mine, below := 0.0, 0.0, 0.0
		for name, c := range l.classes {
			switch tier := l.turn.Policy().Tier(name); {
			case tier == i:
				weights += l.turn.Policy().Weight(name) * c.activity()
				mine = max(mine, c.activity())
			case tier > i:
				below = max(below, c.activity())
			}
		}
		if weights == 0 {
			continue
		}
		part := rest
		if below > 0 {
			part *= mine * (1 - l.turn.Policy().Tiers[i].Floor*below)
		}
		rest -= part
		for name, c := range l.classes {
			if l.turn.Policy().Tier(name) == i {
				out[name] = part * l.turn.Policy().Weight(name) * c.activity() / weights
			}
		}
	}
	return out
}

// window is the cost delivered over the last minute.
func (c *classState) window() int64 {
	sum := c.charge
	for _, s := range c.slices {
		sum += s
	}
	return sum
}

// activity is the part of the last minute in which the class wanted something.
func (c *classState) activity() float64 {
	n := 0
	for _, a := range c.active {
		if a {
			n++
		}
	}
	return float64(n) / shareSlices
}

// hostOf is the label of a backend.
func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return raw
	}
	return u.Host
}
