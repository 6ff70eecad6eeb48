package play

import (
	"context"
	"time"

	"fairlane/loadtest/simulate"
)

// kv is what was seen of the backends' memory.
type kv struct {
	sum, most float64
	n         int
}

// watch reads once a second how much of the backends' KV is in use.
func (g *game) watch(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		g.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (g *game) look(ctx context.Context) {
	used, err := g.cfg.KV(ctx)
	if err != nil || time.Since(g.start) < g.w.Warmup {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.kv.sum, g.kv.most, g.kv.n = g.kv.sum+used, max(g.kv.most, used), g.kv.n+1
}

// result is what was seen, in the simulator's words. What cannot be seen from
// outside is left out.
func (g *game) result() *simulate.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	seconds := g.w.Duration.Seconds()
	r := &simulate.Result{Workload: g.w.Name, Setup: "measured", Policy: simulate.Fair, Seed: g.w.Seed, Seconds: seconds}
	total, output, input := 0.0, 0, 0
	for i := range g.rows {
		total, output, input = total+g.rows[i].delivered, output+g.rows[i].output, input+g.rows[i].input
		r.Requests += g.rows[i].served
	}
	classes := map[string]*row{}
	var names []string
	for i := range g.rows {
		x, u := &g.rows[i], &g.w.Users[i]
		c := classes[u.Class]
		if c == nil {
			c = &row{}
			classes[u.Class] = c
			names = append(names, u.Class)
		}
		c.delivered += x.delivered
		c.firsts, c.waits = append(c.firsts, x.firsts...), append(c.waits, x.waits...)
		r.Rows = append(r.Rows, simulate.Row{
			Name: u.Name, Class: u.Class, Persons: max(u.Count, 1), Ends: simulate.Ends{Served: x.served}, Share: x.delivered / max(total, 1),
			Wait: simulate.QuantilesOf(x.waits), First: simulate.QuantilesOf(x.firsts),
		})
	}
	for _, name := range names {
		c := classes[name]
		r.Classes = append(r.Classes, simulate.ClassRow{
			Name: name, Share: c.delivered / max(total, 1), Wait: simulate.QuantilesOf(c.waits), First: simulate.QuantilesOf(c.firsts),
		})
	}
	r.RequestRate, r.OutputRate, r.InputRate, r.CostRate = float64(r.Requests)/seconds, float64(output)/seconds, float64(input)/seconds, total/seconds
	r.KV, r.KVMost = g.kv.sum/float64(max(g.kv.n, 1)), g.kv.most
	return r
}
