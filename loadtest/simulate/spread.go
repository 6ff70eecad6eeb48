package simulate

import (
	"context"
	"math"
	"reflect"
	"slices"
)

// Repeat plays a workload with so many seeds, from its own on. The figures are the
// medians, each for itself; Low and High are the least and the most that was seen, and
// the curves are those of the first seed. Of what was recorded nothing is drawn: it
// is played once.
func Repeat(ctx context.Context, w *Workload, s *Setup, policy Policy, seeds int) (*Result, error) {
	if len(w.Users) == 0 {
		seeds = 1
	}
	var runs []*Result
	for i := range max(seeds, 1) {
		with := *w
		with.Seed += uint64(i)
		r, err := Run(ctx, &with, s, policy)
		if err != nil {
			return nil, err
		}
		runs = append(runs, r)
	}
	return fold(runs), nil
}

// fold makes one result of those of several seeds.
func fold(runs []*Result) *Result {
	if len(runs) == 1 {
		return runs[0]
	}
	r := pick(runs, median)
	r.Seeds, r.Series, r.each = len(runs), runs[0].Series, runs
	r.Low, r.High = pick(runs, slices.Min[[]float64]), pick(runs, slices.Max[[]float64])
	return r
}

// pick makes a result of which each figure is picked from those of the runs.
func pick(runs []*Result, of func([]float64) float64) *Result {
	r := *runs[0]
	choose(&r, runs, of)
	r.Series, r.Rows, r.Classes = nil, nil, nil
	named := &Report{Runs: runs}
	for _, name := range named.users() {
		row := Row{Name: name}
		var rows []*Row
		for _, x := range runs {
			if same := x.user(name); same != nil {
				rows, row.Class, row.Always = append(rows, same), same.Class, row.Always || same.Always
			} else {
				rows = append(rows, &Row{})
			}
		}
		choose(&row, rows, of)
		row.RefusedBy = reasonsOf(rows, func(x *Row) *Ends { return &x.Ends }, of)
		r.Rows = append(r.Rows, row)
	}
	for _, name := range named.classes() {
		row := ClassRow{Name: name}
		var rows []*ClassRow
		for _, x := range runs {
			rows = append(rows, x.class(name))
		}
		choose(&row, rows, of)
		row.RefusedBy = reasonsOf(rows, func(x *ClassRow) *Ends { return &x.Ends }, of)
		r.Classes = append(r.Classes, row)
	}
	return &r
}

// choose sets every number of a struct, also those in structs of it, to what is picked
// from the same number of others.
func choose[T any](to *T, from []*T, of func([]float64) float64) {
	values := make([]reflect.Value, len(from))
	for i, x := range from {
		values[i] = reflect.ValueOf(x).Elem()
	}
	chooseIn(reflect.ValueOf(to).Elem(), values, of)
}

func chooseIn(to reflect.Value, from []reflect.Value, of func([]float64) float64) {
	numbers := make([]float64, len(from))
	switch to.Kind() {
	case reflect.Struct:
		for i := range to.NumField() {
			fields := make([]reflect.Value, len(from))
			for k, x := range from {
				fields[k] = x.Field(i)
			}
			chooseIn(to.Field(i), fields, of)
		}
	case reflect.Float64:
		for i, x := range from {
			numbers[i] = x.Float()
		}
		to.SetFloat(of(numbers))
	case reflect.Int:
		for i, x := range from {
			numbers[i] = float64(x.Int())
		}
		to.SetInt(int64(math.Round(of(numbers))))
	default: // names
	}
}

// reasonsOf picks for each reason how often it was one.
func reasonsOf[T any](rows []*T, ends func(*T) *Ends, of func([]float64) float64) map[string]int {
	counts := map[string][]float64{}
	for i, x := range rows {
		for why, n := range ends(x).RefusedBy {
			if counts[why] == nil {
				counts[why] = make([]float64, len(rows))
			}
			counts[why][i] = float64(n)
		}
	}
	out := map[string]int{}
	for why, n := range counts {
		if x := int(math.Round(of(n))); x > 0 {
			out[why] = x
		}
	}
	return out
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	n := len(x)
	return (x[(n-1)/2] + x[n/2]) / 2
}

// figure is one with what was seen of it.
type figure struct{ low, mid, high float64 }

// figure of a class of a run, taken seed by seed.
func (r *Result) figure(class string, of func(*ClassRow) float64) figure {
	if r.each == nil {
		x := of(r.class(class))
		return figure{x, x, x}
	}
	seen := make([]float64, len(r.each))
	for i, x := range r.each {
		seen[i] = of(x.class(class))
	}
	return figure{slices.Min(seen), median(seen), slices.Max(seen)}
}

// apart reports whether all that was seen of one lies on one side of the other.
func (f figure) apart(g figure) bool { return f.low > g.high || f.high < g.low }

// text is a figure with the range, if there is one.
func (f figure) text(say func(float64) string) string {
	return between(say(f.mid), say(f.low), say(f.high))
}

// between adds a range to a figure, if it has one.
func between(mid, low, high string) string {
	if low == high {
		return mid
	}
	return mid + " (" + low + " to " + high + ")"
}
