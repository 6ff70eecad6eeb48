package simulate

import (
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
	"fairlane/scheduler/turn"
)

// person is somebody who asks, and what became of it.
type person struct {
	key string
	row int // in the report
	standing
	leaf *node

	parked        []*job        // that the queue does not get yet
	admitted      int           // sequences that the queue has, or that run
	waiting, busy int           // requests that wait; that wait or run
	since         time.Duration // since when something waits
	turn          time.Duration // since when it waits for its turn
	index         int           // among those who have work; -1: it has none

	delivered float64 // cost in tokens, since the warm-up
	second    float64 // of it in this second
	entitled  float64
	seconds   int // in all of which something of it waited
}

// hungry reports whether something waited all the last second.
func (p *person) hungry(now time.Duration) bool { return p.waiting > 0 && now-p.since >= observeEvery }

// mayQueue reports whether the queue may have so many more sequences, where it does not
// bound itself what runs of a user.
func (p *person) mayQueue(sequences int) bool {
	return p.maxRunning == 0 || p.admitted == 0 || p.admitted+sequences <= p.maxRunning
}

// node is a place in the tree, to say what weights promise. What it counts is of
// one second.
type node struct {
	up     *node
	weight float64
	count  int // of the second that the rest is of

	got    float64 // what was delivered below it
	hungry bool    // somebody below it could have taken more
	sum    float64 // weights of its hungry children
	fed    float64 // what was delivered to these
	part   float64 // what it is entitled to; -1: not reckoned yet
}

// tree says who is entitled to what.
type tree struct {
	nodes map[string]*node
	root  node
	count int
}

func (t *tree) leaf(p *turn.Policy, e *scheduler.Entry) *node {
	at, key := &t.root, ""
	for _, step := range append(tiers(p, p.Tier(e.Class)), p.Path(e)...) {
		key += "/" + step.Key
		n := t.nodes[key]
		if n == nil {
			n = &node{up: at, weight: step.Weight, count: -1}
			t.nodes[key] = n
		}
		at = n
	}
	return at
}

// least stands for no weight, so that who is alone has all.
const least = 1e-9

// tiers are the steps above a class of a tier: at each tier those in it and those
// below it part what is there, these by its floor.
func tiers(p *turn.Policy, tier int) []fairqueue.Step {
	var steps []fairqueue.Step
	for i, t := range p.Tiers {
		if i == tier {
			return append(steps, fairqueue.Step{Key: "tier", Weight: 1 - t.Floor})
		}
		steps = append(steps, fairqueue.Step{Key: "below", Weight: max(t.Floor, least)})
	}
	return steps
}

// divide says what each of the hungry was entitled to of a second: whoever could
// not have taken more keeps what it had, and the others share the rest by weight,
// level by level.
func (t *tree) divide(had, hungry []*person) {
	t.count++
	total := 0.0
	for _, who := range had {
		total += who.second
		for n := who.leaf; n != nil; n = n.up {
			t.at(n).got += who.second
		}
	}
	for _, who := range hungry {
		for n := t.at(who.leaf); n.up != nil && !n.hungry; n = n.up {
			n.hungry = true
			t.at(n.up).sum += n.weight
			n.up.fed += n.got
		}
	}
	t.at(&t.root).part = total
	for _, who := range hungry {
		who.entitled += who.leaf.reckon()
	}
	for _, who := range had {
		if !who.leaf.hungry {
			who.entitled += who.second
		}
		who.second = 0
	}
}

// at is a node with what it counts being of this second.
func (t *tree) at(n *node) *node {
	if n.count != t.count {
		n.count, n.got, n.hungry, n.sum, n.fed, n.part = t.count, 0, false, 0, 0, -1
	}
	return n
}

func (n *node) reckon() float64 {
	if n.part < 0 {
		rest := n.up.reckon() - (n.up.got - n.up.fed)
		n.part = max(rest, 0) * n.weight / n.up.sum
	}
	return n.part
}
