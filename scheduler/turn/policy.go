package turn

import (
	"slices"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// Policy is what may change while requests wait.
type Policy struct {
	Share   []string // levels of the tree: class, group, user; empty: class, user
	Classes map[string]Class
	Tiers   []Tier // sets of classes that go first, the first before all
	Cost    scheduler.CostWeights
}

// Class is what has to be known of one.
type Class struct {
	Weight   float64 // 0: 1
	Headroom int     // slots that others leave free for it
	Newest   bool    // of a user's requests the newest goes first
}

// Tier is a set of classes that go before all that no tier before it names.
type Tier struct {
	Classes []string
	Floor   float64 // part of what is served that those below are left, 0 to less than 1
}

// WithDefaults fills in what is not given.
func (p Policy) WithDefaults() Policy {
	if len(p.Share) == 0 {
		p.Share = []string{"class", "user"}
	}
	if p.Cost == (scheduler.CostWeights{}) {
		p.Cost = scheduler.DefaultCost()
	}
	return p
}

// Weight is the class's, 1 where none is known.
func (p *Policy) Weight(class string) float64 {
	if c, ok := p.Classes[class]; ok && c.Weight > 0 {
		return c.Weight
	}
	return 1
}

// Tier is the number of the class's, that of the last for those that none names.
func (p *Policy) Tier(class string) int {
	if i := slices.IndexFunc(p.Tiers, func(t Tier) bool { return slices.Contains(t.Classes, class) }); i >= 0 {
		return i
	}
	return len(p.Tiers)
}

// ByUser reports whether a user is one, whatever the classes of its requests.
func (p *Policy) ByUser() bool { return p.Share[0] != "class" }

// SameShare reports whether the tree has the same levels.
func (p *Policy) SameShare(o *Policy) bool { return slices.Equal(p.Share, o.Share) }

// SameTree reports whether what waits under p may stay where it is under o.
func (p *Policy) SameTree(o *Policy) bool {
	return p.SameShare(o) && slices.EqualFunc(p.Tiers, o.Tiers, func(a, b Tier) bool {
		return a.Floor == b.Floor && slices.Equal(a.Classes, b.Classes)
	})
}

func (p *Policy) queue() (*fairqueue.Queue, error) {
	cfg := fairqueue.Config{Depth: len(p.Share)}
	for _, t := range p.Tiers {
		cfg.Floors = append(cfg.Floors, t.Floor)
	}
	return fairqueue.New(cfg)
}

// Path is an entry's way through the tree.
func (p *Policy) Path(e *scheduler.Entry) []fairqueue.Step {
	class, own := p.Weight(e.Class), e.UserWeight
	if own <= 0 {
		own = 1
	}
	steps := make([]fairqueue.Step, 0, len(p.Share))
	for _, level := range p.Share {
		switch level {
		case "class":
			steps = append(steps, fairqueue.Step{Key: e.Class, Weight: class})
		case "group":
			steps = append(steps, fairqueue.Step{Key: e.Group, Weight: 1})
		default:
			if p.ByUser() {
				own *= class
			}
			steps = append(steps, fairqueue.Step{Key: e.User, Weight: own})
		}
	}
	return steps
}

func (p *Policy) weights() fairqueue.Weights {
	return fairqueue.Weights{Input: p.Cost.Input, Cached: p.Cost.Cached, Output: p.Cost.Output}
}
