package simulate

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// What is too little to be told.
const (
	leastFactor = 0.2  // of a wait
	leastWait   = 0.1  // seconds
	leastPart   = 0.01 // of a share, and of what was asked
)

// verdict is what a change means to those whom it concerns.
type verdict string

const (
	better verdict = "better"
	worse  verdict = "worse"
	mixed  verdict = "mixed"
	same   verdict = "same"
)

// change is what one run means to a class beside another one.
type change struct {
	Class   string
	Verdict verdict
	What    []delta
}

// delta is a figure that is another one than before.
type delta struct{ What, Is, Was string }

// comparison is a run beside the first one.
type comparison struct {
	Now, Before string
	Changes     []change
	Short       string // whom it is better for, and whom worse
}

// comparisons hold every run against the first.
func (r *Report) comparisons() []comparison {
	var out []comparison
	for _, x := range r.Runs[1:] {
		c := comparison{Now: r.title(x), Before: r.title(r.Runs[0])}
		for _, name := range r.classes() {
			c.Changes = append(c.Changes, changed(name, r.Runs[0], x))
		}
		c.Short = short(c.Changes)
		out = append(out, c)
	}
	return out
}

// short says in a sentence whom changes are better for, and whom worse.
func short(changes []change) string {
	var parts []string
	for _, v := range [...]verdict{better, worse, mixed, same} {
		var names []string
		for i := range changes {
			if changes[i].Verdict == v {
				names = append(names, changes[i].Class)
			}
		}
		if len(names) > 0 {
			parts = append(parts, string(v)+" for "+strings.Join(names, ", "))
		}
	}
	return "It is " + strings.Join(parts, "; ") + "."
}

// changed says what is another for a class, beyond what seeds make of it.
func changed(name string, was, is *Result) change {
	c, good, bad := change{Class: name, Verdict: same}, false, false
	note := func(what string, of func(*ClassRow) float64, text func(float64) string, by float64) {
		before, now := was.figure(name, of), is.figure(name, of)
		if math.Abs(now.mid-before.mid) < by || !now.apart(before) {
			return
		}
		c.What = append(c.What, delta{what, now.text(text), before.text(text)})
		if what != "share" { // more of it is not better for who asks for less
			good, bad = good || now.mid < before.mid, bad || now.mid > before.mid
		}
	}
	wait := func(what string, of func(*ClassRow) float64) {
		if x, y := was.class(name), is.class(name); x.Wait.N > 0 && y.Wait.N > 0 {
			note(what, of, duration, max(leastWait, leastFactor*max(of(x), of(y))))
		}
	}
	wait("median wait", func(x *ClassRow) float64 { return x.Wait.P50 })
	wait("p99", func(x *ClassRow) float64 { return x.Wait.P99 })
	note("refused", func(x *ClassRow) float64 { return x.part(x.Refused) }, percent, leastPart)
	note("expired", func(x *ClassRow) float64 { return x.part(x.Expired) }, percent, leastPart)
	note("hung up", func(x *ClassRow) float64 { return x.part(x.Left) }, percent, leastPart)
	note("share", func(x *ClassRow) float64 { return x.Share }, percent, leastPart)
	switch {
	case good && bad:
		c.Verdict = mixed
	case good:
		c.Verdict = better
	case bad:
		c.Verdict = worse
	}
	return c
}

// part of what was asked.
func (e *Ends) part(n int) float64 { return float64(n) / float64(max(e.Asked, 1)) }

// String is the change in words.
func (c *change) String() string {
	var parts []string
	for _, d := range c.What {
		parts = append(parts, d.What+" "+d.Is+", was "+d.Was)
	}
	return strings.Join(parts, "; ")
}

// changes writes what every run means to whom beside the first one.
func (r *Report) changes(w io.Writer) error {
	for _, c := range r.comparisons() {
		fmt.Fprintf(w, "\n%s instead of %s: %s\n", c.Now, c.Before, c.Short)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for i := range c.Changes {
			x := &c.Changes[i]
			if x.Verdict == same && len(x.What) == 0 {
				fmt.Fprintf(t, "  %s\t%s\n", x.Class, x.Verdict)
				continue
			}
			fmt.Fprintf(t, "  %s\t%s\t%s\n", x.Class, x.Verdict, x)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(r.Runs) > 1 {
		fmt.Fprintln(w)
	}
	return nil
}

// seeds says what was drawn, and what that means.
func (r *Report) seeds() string {
	x := r.Runs[0]
	switch {
	case x.Seeds > 1:
		return fmt.Sprintf("%d seeds from %d: medians, with what was seen in brackets; a change is told if it is beyond that", x.Seeds, x.Seed)
	case len(r.Runs) > 1 && !r.recorded:
		return fmt.Sprintf("seed %d: small differences may be chance, which several seeds tell", x.Seed)
	default:
		return fmt.Sprintf("seed %d", x.Seed)
	}
}

// classes are those of all runs, in their order.
func (r *Report) classes() []string {
	var out []string
	for _, x := range r.Runs {
		for i := range x.Classes {
			if name := x.Classes[i].Name; !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	return out
}

// class is a class's row; one that nobody came with is empty.
func (r *Result) class(name string) *ClassRow {
	for i := range r.Classes {
		if r.Classes[i].Name == name {
			return &r.Classes[i]
		}
	}
	return &ClassRow{Name: name}
}
