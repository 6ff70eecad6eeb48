package policy

import (
	"math"
	"slices"
	"strings"

	"fairlane/proxy/limit"
	"fairlane/scheduler"
)

// The factors that limits may have.
const (
	leastFactor = 0.01
	mostFactor  = 100
)

// Follow lets limits follow the load of the pool that a request goes to.
type Follow struct {
	From float64 // of what is written remains while the pool is loaded: 0.01 to 1
	To   float64 // times what is written are given while it is idle: 1 to 100
}

// Factor is that of a level. In between it is on the straight line to 1.
func (f Follow) Factor(level int) float64 {
	part := float64(min(max(level, -scheduler.MostLoad), scheduler.MostLoad)) / scheduler.MostLoad
	if part >= 0 {
		return 1 + part*(f.From-1)
	}
	return 1 - part*(f.To-1)
}

// Following is a rule whose limits follow the load.
type Following struct {
	Rule string // its name, or its place: policy[3]
	Follow
}

// Following are the rules whose limits follow the load; not to be changed.
func (p *Policy) Following() []Following { return p.follows }

// graded are limits as they are at every level of the load.
type graded struct {
	written *Limits
	steps   []step // by level, from -MostLoad; none: the limits are always as written
}

type step struct {
	Limits
	factor float64
}

func grade(l *Limits, f *Follow) graded {
	g := graded{written: l.clone()}
	if l == nil || f == nil {
		return g
	}
	for level := -scheduler.MostLoad; level <= scheduler.MostLoad; level++ {
		s := step{factor: f.Factor(level)}
		var texts []string
		for _, one := range l.Set {
			one = one.Times(s.factor)
			s.Set, texts = append(s.Set, one), append(texts, one.String())
		}
		s.Text = strings.Join(texts, "; ")
		g.steps = append(g.steps, s)
	}
	return g
}

// bucket is one with the limits of a level.
func (g *graded) bucket(level int) Bucket {
	if g.written == nil {
		return Bucket{}
	}
	if len(g.steps) > 0 && level != 0 {
		s := &g.steps[min(max(level, -scheduler.MostLoad), scheduler.MostLoad)+scheduler.MostLoad]
		if !slices.EqualFunc(s.Set, g.written.Set, sameLimit) {
			return Bucket{Limits: s.Set, Text: s.Text, Written: g.written, Factor: s.factor}
		}
	}
	return Bucket{Limits: g.written.Set, Text: g.written.Text}
}

func sameLimit(a, b limit.Limit) bool {
	return a.N == b.N && a.Period == b.Period && a.Room() == b.Room()
}

func (f *faults) follow(path string, follow *Follow) {
	if math.IsNaN(follow.From) || follow.From < leastFactor || follow.From > 1 {
		f.add(path+".from", "%v is outside %v to 1: it is the part of the limits that remains while the pool is loaded", follow.From, leastFactor)
	}
	if math.IsNaN(follow.To) || follow.To < 1 || follow.To > mostFactor {
		f.add(path+".to", "%v is outside 1 to %v: so many times the limits are given while the pool is idle", follow.To, mostFactor)
	}
	if follow.From == 1 && follow.To == 1 {
		f.add(path, "from and to are both 1, which changes nothing: e.g. {from: 0.5, to: 2}")
	}
}
