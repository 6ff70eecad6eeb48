package simulate

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Report is runs side by side, all of one workload.
type Report struct {
	Workload string    `json:"workload"`
	About    string    `json:"about,omitempty"`
	GPU      string    `json:"gpu"`
	Runs     []*Result `json:"runs"`

	recorded bool // nothing is drawn
}

// NewReport puts runs of a workload side by side.
func NewReport(w *Workload, runs []*Result) *Report {
	return &Report{Workload: w.Name, About: w.About, GPU: w.GPU.Profile, Runs: runs, recorded: len(w.Users) == 0}
}

// title of a run: what tells it from the others.
func (r *Report) title(x *Result) string {
	named, policies := false, false
	for _, o := range r.Runs {
		named = named || o.Setup != x.Setup
		policies = policies || o.Policy != x.Policy
	}
	switch {
	case named && policies:
		return x.Setup + " " + string(x.Policy)
	case named:
		return x.Setup
	default:
		return string(x.Policy)
	}
}

// line is a figure of every run.
type line struct {
	name string
	of   func(x *Result) string
}

func figures() []line {
	return []line{
		{"requests served", func(x *Result) string { return strconv.Itoa(x.Requests) }},
		{"requests a second", func(x *Result) string { return fmt.Sprintf("%.2f", x.RequestRate) }},
		{"output tokens a second", func(x *Result) string { return fmt.Sprintf("%.0f", x.OutputRate) }},
		{"input tokens a second", func(x *Result) string { return fmt.Sprintf("%.0f", x.InputRate) }},
		{"KV in use", func(x *Result) string { return percent(x.KV) }},
		{"sequences that ran", func(x *Result) string { return fmt.Sprintf("%.1f", x.Running) }},
		{"preemptions", func(x *Result) string { return strconv.Itoa(x.Preemptions) }},
		{"largest share error", func(x *Result) string { return orNone(x.Jain > 0, fine(x.ShareError)) }},
		{"Jain's index", func(x *Result) string { return orNone(x.Jain > 0, fmt.Sprintf("%.4f", x.Jain)) }},
		{"largest gap, tokens", func(x *Result) string { return orNone(x.Jain > 0, fmt.Sprintf("%.0f", x.LargestGap)) }},
		{"refused", func(x *Result) string { return strconv.Itoa(x.Refused) }},
		{"expired", func(x *Result) string { return strconv.Itoa(x.Expired) }},
		{"hung up", func(x *Result) string { return strconv.Itoa(x.Left) }},
		{"waiting at the end", func(x *Result) string { return strconv.Itoa(x.StillWaiting) }},
	}
}

// Table writes the report for a terminal.
func (r *Report) Table(w io.Writer) error {
	x := r.Runs[0]
	fmt.Fprintf(w, "%s: %.0f s simulated on %s, %s\n", r.Workload, x.Seconds, r.GPU, r.seeds())
	if r.About != "" {
		fmt.Fprintln(w, r.About)
	}
	if err := r.changes(w); err != nil {
		return err
	}
	t := &grid{w: tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
	t.row("", r.titles()...)
	for _, f := range figures() {
		t.row(f.name, r.each(func(x *Result) string {
			if x.Low == nil {
				return f.of(x)
			}
			return between(f.of(x), f.of(x.Low), f.of(x.High))
		})...)
	}
	r.unserved(t)
	r.shares(t)
	r.waits(t, "wait, p50 / p90 / p99", func(q *ClassRow) *Quantiles { return &q.Wait })
	r.waits(t, "first token, p50 / p90 / p99", func(q *ClassRow) *Quantiles { return &q.First })
	r.people(t)
	return t.w.Flush()
}

func (r *Report) titles() []string { return r.each(r.title) }

func (r *Report) each(of func(x *Result) string) []string {
	out := make([]string, len(r.Runs))
	for i, x := range r.Runs {
		out[i] = of(x)
	}
	return out
}

// shares of the users, each with what it was entitled to.
func (r *Report) shares(t *grid) {
	t.part("share / entitled", r.titles())
	for _, name := range r.users() {
		t.row(name, r.each(func(x *Result) string {
			switch row := x.user(name); {
			case row == nil:
				return "-"
			case row.Entitled == 0 && row.Share > 0: // seen from outside
				return percent(row.Share)
			default:
				return percent(row.Share) + " / " + percent(row.Entitled)
			}
		})...)
	}
}

// people are the waits of the users.
func (r *Report) people(t *grid) {
	t.part("wait of a user, p50 / p90 / p99", r.titles())
	for _, name := range r.users() {
		t.row(name, r.each(func(x *Result) string {
			if row := x.user(name); row != nil {
				return row.Wait.String()
			}
			return "-"
		})...)
	}
}

func (r *Report) waits(t *grid, what string, of func(*ClassRow) *Quantiles) {
	t.part(what, r.titles())
	for _, name := range r.classes() {
		t.row("class "+name, r.each(func(x *Result) string { return of(x.class(name)).String() })...)
	}
}

// unserved are what was asked of each class and how it ended, and why it was refused.
func (r *Report) unserved(t *grid) {
	t.part("asked / served / refused / expired / hung up", r.titles())
	for _, name := range r.classes() {
		t.row("class "+name, r.each(func(x *Result) string {
			e := &x.class(name).Ends
			return fmt.Sprintf("%d / %d / %d / %d / %d", e.Asked, e.Served, e.Refused, e.Expired, e.Left)
		})...)
	}
	reasons := r.reasons()
	if len(reasons) == 0 {
		return
	}
	t.part("refused because of", r.titles())
	for _, why := range reasons {
		for _, name := range r.classes() {
			if slices.ContainsFunc(r.Runs, func(x *Result) bool { return x.class(name).RefusedBy[why] > 0 }) {
				t.row("class "+name+": "+why, r.each(func(x *Result) string { return strconv.Itoa(x.class(name).RefusedBy[why]) })...)
			}
		}
	}
}

// reasons are all for which anything was refused.
func (r *Report) reasons() []string {
	all := map[string]bool{}
	for _, x := range r.Runs {
		for i := range x.Classes {
			for why := range x.Classes[i].RefusedBy {
				all[why] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// users are the rows of all runs, in their order.
func (r *Report) users() []string {
	var out []string
	for _, x := range r.Runs {
		for i := range x.Rows {
			if !slices.Contains(out, x.Rows[i].Name) {
				out = append(out, x.Rows[i].Name)
			}
		}
	}
	return out
}

func (r *Result) user(name string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Name == name {
			return &r.Rows[i]
		}
	}
	return nil
}

// grid is a table whose first column is on the left.
type grid struct{ w *tabwriter.Writer }

func (g *grid) part(what string, titles []string) {
	fmt.Fprintln(g.w)
	g.row(what, titles...)
}

func (g *grid) row(name string, cells ...string) {
	const width = 44
	if pad := width - len([]rune(name)); pad > 0 {
		name += strings.Repeat(" ", pad)
	}
	fmt.Fprintf(g.w, "%s\t%s\t\n", name, strings.Join(cells, "\t"))
}

// String are the three of them, or a dash if nobody was served.
func (q *Quantiles) String() string {
	if q.N == 0 {
		return "-"
	}
	return duration(q.P50) + " / " + duration(q.P90) + " / " + duration(q.P99)
}

func duration(s float64) string {
	switch {
	case s < 0.0005:
		return "0"
	case s < 0.1:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 10:
		return fmt.Sprintf("%.2f s", s)
	default:
		return fmt.Sprintf("%.0f s", s)
	}
}

func percent(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }

// fine is a percentage of which small ones matter.
func fine(x float64) string {
	if math.Abs(x) < 0.1 {
		return fmt.Sprintf("%.2f %%", 100*x)
	}
	return fmt.Sprintf("%.0f %%", 100*x)
}

func orNone(known bool, s string) string {
	if !known {
		return "-"
	}
	return s
}
