package simulate

import (
	"cmp"
	"math"
	"slices"
)

// Result is what a run showed.
type Result struct {
	Workload string  `json:"workload"`
	Setup    string  `json:"setup,omitempty"`
	Policy   Policy  `json:"policy"`
	Seed     uint64  `json:"seed"`
	Seeds    int     `json:"seeds,omitempty"` // from Seed on, see [Repeat]; 0: 1
	Seconds  float64 `json:"seconds"`         // measured

	Rows    []Row      `json:"users"`
	Classes []ClassRow `json:"classes"`

	Requests     int     `json:"requests"`
	RequestRate  float64 `json:"requests_per_second"`
	OutputRate   float64 `json:"output_tokens_per_second"`
	InputRate    float64 `json:"input_tokens_per_second"`
	CostRate     float64 `json:"cost_per_second"`
	KV           float64 `json:"kv_use"` // mean, of 1
	KVMost       float64 `json:"kv_use_max"`
	Running      float64 `json:"running"` // sequences, mean
	Preemptions  int     `json:"preemptions"`
	Jain         float64 `json:"jain"`                // of those who always had work; 0: there were none
	ShareError   float64 `json:"largest_share_error"` // of those, relative to what they were entitled to
	LargestGap   float64 `json:"largest_gap_tokens"`
	Refused      int     `json:"refused"`
	Expired      int     `json:"expired"`
	Left         int     `json:"left"` // hung up before the first token
	StillWaiting int     `json:"still_waiting"`

	Series []Point `json:"series,omitempty"`

	Low  *Result `json:"low,omitempty"` // of several seeds: the least of each figure
	High *Result `json:"high,omitempty"`
	each []*Result
}

// Row is a user, or those who are alike.
type Row struct {
	Name     string    `json:"name"`
	Class    string    `json:"class"`
	Persons  int       `json:"persons"`
	Share    float64   `json:"share"`    // of the delivered cost
	Entitled float64   `json:"entitled"` // of it
	Error    float64   `json:"error"`    // the largest of them, relative; 0: none always had work
	Always   bool      `json:"always"`   // had something waiting all the time
	Wait     Quantiles `json:"wait_seconds"`
	First    Quantiles `json:"first_token_seconds"`
	Ends
}

// ClassRow is a class.
type ClassRow struct {
	Name     string    `json:"name"`
	Share    float64   `json:"share"`
	Entitled float64   `json:"entitled"`
	Wait     Quantiles `json:"wait_seconds"`
	First    Quantiles `json:"first_token_seconds"`
	Ends
}

// Ends are how requests ended. What waits or runs at the end is in none.
type Ends struct {
	Asked     int            `json:"asked"`
	Served    int            `json:"served"`
	Refused   int            `json:"refused"`
	RefusedBy map[string]int `json:"refused_by,omitempty"` // by reason
	Expired   int            `json:"expired"`              // waited for max_wait
	Left      int            `json:"left"`                 // their client hung up before the first token
}

func (e *Ends) add(o *Ends) {
	e.Asked, e.Served, e.Refused = e.Asked+o.Asked, e.Served+o.Served, e.Refused+o.Refused
	e.Expired, e.Left = e.Expired+o.Expired, e.Left+o.Left
	for why, n := range o.RefusedBy {
		if e.RefusedBy == nil {
			e.RefusedBy = map[string]int{}
		}
		e.RefusedBy[why] += n
	}
}

func (t *tally) ends() Ends {
	e := Ends{Asked: t.asked, Served: t.served, RefusedBy: t.refused, Expired: t.expired, Left: t.left}
	for _, n := range t.refused {
		e.Refused += n
	}
	return e
}

// Quantiles of N values, in seconds.
type Quantiles struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// Point is a moment of the curves.
type Point struct {
	At      float64 `json:"at"`  // seconds since the warm-up
	Gap     float64 `json:"gap"` // tokens
	KV      float64 `json:"kv"`  // of 1
	Running int     `json:"running"`
	Waiting int     `json:"waiting"`
}

func (p *play) result() *Result {
	m := &p.m
	seconds := max(p.now-m.from, 0).Seconds()
	per := func(n int) float64 { return float64(n) / max(seconds, 1) }
	r := &Result{
		Workload: p.w.Name, Setup: p.s.Name, Policy: p.policy, Seed: p.w.Seed, Seconds: seconds,
		Requests: m.requests, RequestRate: per(m.requests), OutputRate: per(m.output), InputRate: per(m.input),
		CostRate: m.delivered / max(seconds, 1), KV: m.kv / float64(max(m.seconds, 1)), KVMost: m.kvMost,
		Running: m.running / float64(max(m.seconds, 1)), LargestGap: m.gap, StillWaiting: p.lined, Series: m.series,
	}
	for _, x := range p.machines {
		r.Preemptions += x.engine.Stats().Preemptions
	}
	var sum, squares float64
	var always int
	for _, t := range m.rows {
		row := m.row(t, func(x float64) { sum, squares, always = sum+x, squares+x*x, always+1 })
		r.Refused, r.Expired, r.Left, r.ShareError = r.Refused+row.Refused, r.Expired+row.Expired, r.Left+row.Left, max(r.ShareError, row.Error)
		r.Rows = append(r.Rows, row)
	}
	if squares > 0 {
		r.Jain = sum * sum / (float64(always) * squares)
	}
	r.Classes = m.byClass()
	return r
}

// row sums a tally up and tells what the always busy had, of what they should have.
func (m *measure) row(t *tally, ratio func(x float64)) Row {
	row := Row{
		Name: t.name, Class: t.class, Persons: len(t.persons), Wait: QuantilesOf(t.waits), First: QuantilesOf(t.firsts), Ends: t.ends(),
	}
	persons := make([]*person, 0, len(t.persons))
	for who := range t.persons {
		persons = append(persons, who)
	}
	slices.SortFunc(persons, func(a, b *person) int { return cmp.Compare(a.key, b.key) })
	t.delivered, t.entitl = 0, 0
	for _, who := range persons {
		t.delivered += who.delivered
		t.entitl += who.entitled
		if who.backlogged(m.seconds) && who.entitled > 0 {
			row.Always = true
			row.Error = max(row.Error, math.Abs(who.delivered/who.entitled-1))
			ratio(who.delivered / who.entitled)
		}
	}
	row.Share, row.Entitled = t.delivered/max(m.delivered, 1), t.entitl/max(m.delivered, 1)
	return row
}

func (m *measure) byClass() []ClassRow {
	all, ends := map[string]*tally{}, map[string]*Ends{}
	var names []string
	for _, t := range m.rows {
		if len(t.persons) == 0 { // nobody came, and so nobody said which class they have
			continue
		}
		c := all[t.class]
		if c == nil {
			c = &tally{}
			all[t.class], ends[t.class] = c, &Ends{}
			names = append(names, t.class)
		}
		c.waits, c.firsts = append(c.waits, t.waits...), append(c.firsts, t.firsts...)
		c.delivered, c.entitl = c.delivered+t.delivered, c.entitl+t.entitl
		e := t.ends()
		ends[t.class].add(&e)
	}
	out := make([]ClassRow, 0, len(names))
	for _, name := range names {
		c := all[name]
		out = append(out, ClassRow{
			Name: name, Share: c.delivered / max(m.delivered, 1), Entitled: c.entitl / max(m.delivered, 1),
			Wait: QuantilesOf(c.waits), First: QuantilesOf(c.firsts), Ends: *ends[name],
		})
	}
	return out
}
