package play

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"fairlane/loadtest/simulate"
)

// fewest waits make a median worth comparing.
const fewest = 20

// Bounds are by how much of it a share, a median wait and the throughput may differ.
type Bounds struct{ Share, Wait, Rate float64 }

// Tenth is a tenth of each. Who always keeps so many requests in the queue waits as
// long as those take that are before them (Little), so a throughput further off than
// that moves waits as far.
func Tenth() Bounds { return Bounds{0.1, 0.1, 0.1} }

// pair is a figure that was seen, and what the other run says of it.
type pair struct {
	what       string
	seen, said float64
	text       func(float64) string
	within     float64
	few        bool // it is of too little to be compared
}

// off is by how much the two differ.
func (p *pair) off() float64 {
	if p.said == 0 {
		if p.seen == 0 {
			return 0
		}
		return math.Inf(1)
	}
	return p.seen/p.said - 1
}

func (p *pair) agrees() bool { return !p.few && math.Abs(p.off()) <= p.within }

// Agree writes shares, median waits and the throughput that were seen beside those
// of another run, and counts those that are further apart than they may be.
func Agree(w io.Writer, seen, said *simulate.Result, b Bounds) (disagree int, err error) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "\t%s\t%s\tdifference\t\t\n", seen.Setup, said.Setup)
	for _, p := range pairs(seen, said, b) {
		verdict := "ok"
		switch {
		case p.few:
			verdict = "too few to tell"
		case !p.agrees():
			verdict = "APART"
		}
		if !p.agrees() {
			disagree++
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%+.1f %%\t%s\t\n", p.what, p.text(p.seen), p.text(p.said), 100*p.off(), verdict)
	}
	return disagree, t.Flush()
}

func pairs(seen, said *simulate.Result, by Bounds) []pair {
	percent := func(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }
	seconds := func(x float64) string { return fmt.Sprintf("%.2f s", x) }
	number := func(x float64) string { return fmt.Sprintf("%.0f", x) }
	var shares, waits []pair
	for i := range said.Rows {
		a, b := rowOf(seen, said.Rows[i].Name), &said.Rows[i]
		few := min(a.Wait.N, b.Wait.N) < fewest
		shares = append(shares, pair{"share of " + b.Name, a.Share, b.Share, percent, by.Share, false})
		waits = append(waits, pair{"median wait of " + b.Name, a.Wait.P50, b.Wait.P50, seconds, by.Wait, few})
	}
	return append(append(shares, waits...), pair{"output tokens a second", seen.OutputRate, said.OutputRate, number, by.Rate, false})
}

func rowOf(r *simulate.Result, name string) *simulate.Row {
	for i := range r.Rows {
		if r.Rows[i].Name == name {
			return &r.Rows[i]
		}
	}
	return &simulate.Row{}
}
