package simulate

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"
)

//go:embed report.html
var reportHTML string

// colors is how many the page has to tell runs apart, also for those who see few.
const colors = 7

// HTML writes the report as one page that needs nothing else.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{"color": func(i int) int { return i % colors }}).Parse(reportHTML)
	if err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	var table strings.Builder
	if err := r.Table(&table); err != nil {
		return err
	}
	x := r.Runs[0]
	data := page{
		Title: r.Workload, About: r.About, Table: table.String(), Runs: r.titles(), Comparisons: r.comparisons(),
		How:  fmt.Sprintf("%s simulated on %s, %s.", length(x.Seconds), r.GPU, r.seeds()),
		Bars: r.charts(),
		Curves: []curve{
			r.curve("Requests that wait", thousands, func(p *Point) float64 { return float64(p.Waiting) }),
			r.curve("KV in use", percent, func(p *Point) float64 { return p.KV }),
			r.curve("Sequences that run", thousands, func(p *Point) float64 { return float64(p.Running) }),
		},
	}
	if r.Runs[0].Jain > 0 {
		data.Curves = append(data.Curves, r.curve("How far the user furthest from its part is away from it, in tokens", thousands, func(p *Point) float64 { return p.Gap }))
	}
	if err := t.Execute(w, data); err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	return nil
}

// charts are those of bars that have something to show.
func (r *Report) charts() []chart {
	out := []chart{r.waitChart()}
	if slices.ContainsFunc(r.Runs, func(x *Result) bool { return x.Refused+x.Expired+x.Left > 0 }) {
		out = append(out, r.unservedChart())
	}
	out = append(out, r.shareChart(), r.figureChart("Output tokens a second", func(x *Result) float64 { return x.OutputRate }))
	if r.Runs[0].Jain > 0 {
		out = append(out, r.figureChart("Jain's index of those who always had work; 1 is even", func(x *Result) float64 { return x.Jain }))
	}
	return out
}

// page is what the template shows.
type page struct {
	Title, About, How, Table string
	Runs                     []string
	Comparisons              []comparison
	Bars                     []chart
	Curves                   []curve
}

// chart is bars that lie, a group for each name.
type chart struct {
	Title, Note string
	Groups      []group
}

type group struct {
	Name string
	Bars []bar
}

// bar is one of a run. Widths are of 100.
type bar struct {
	Width, Mark float64
	Marked      bool // there is something that it should be
	Text        string
}

// add makes a group of a figure of each run.
func (c *chart) add(name string, runs []*Result, of func(x *Result) bar) {
	g := group{Name: name}
	for _, x := range runs {
		g.Bars = append(g.Bars, of(x))
	}
	c.Groups = append(c.Groups, g)
}

// scale makes the longest bar as long as there is room.
func (c chart) scale() chart {
	most := 0.0
	for _, g := range c.Groups {
		for i := range g.Bars {
			most = max(most, g.Bars[i].Width, g.Bars[i].Mark)
		}
	}
	for _, g := range c.Groups {
		for i := range g.Bars {
			if b := &g.Bars[i]; most > 0 {
				b.Width, b.Mark = 100*b.Width/most, 100*b.Mark/most
			}
		}
	}
	return c
}

// shareChart are shares, with a mark at what was entitled.
func (r *Report) shareChart() chart {
	c := chart{Title: "Share of each user", Note: "The mark is what it was entitled to, as far as it asked for it."}
	for _, name := range r.users() {
		c.add(name, r.Runs, func(x *Result) bar {
			row := x.user(name)
			if row == nil {
				return bar{Text: "-"}
			}
			return bar{row.Share, row.Entitled, row.Entitled > 0, percent(row.Share) + " of " + percent(row.Entitled)}
		})
	}
	return c.scale()
}

// waitChart are the median and the p99 of the classes.
func (r *Report) waitChart() chart {
	c := chart{Title: "Wait of each class until it is its turn", Note: "The bar is the median; the mark is what 99 of 100 do not exceed."}
	for _, name := range r.classes() {
		c.add(name, r.Runs, func(x *Result) bar {
			q := &x.class(name).Wait
			if q.N == 0 {
				return bar{Text: "nobody was served"}
			}
			return bar{q.P50, q.P99, true, duration(q.P50) + ", p99 " + duration(q.P99)}
		})
	}
	return c.scale()
}

// unservedChart are the parts of what was asked that were not served.
func (r *Report) unservedChart() chart {
	c := chart{Title: "Refused, expired or hung up, of what each class asked"}
	for _, name := range r.classes() {
		c.add(name, r.Runs, func(x *Result) bar {
			e := &x.class(name).Ends
			lost := e.Refused + e.Expired + e.Left
			return bar{Width: e.part(lost), Text: percent(e.part(lost)) + ", " + thousands(float64(lost))}
		})
	}
	return c.scale()
}

func (r *Report) figureChart(title string, of func(*Result) float64) chart {
	c := chart{Title: title}
	c.add("all", r.Runs, func(x *Result) bar { return bar{Width: of(x), Text: thousands(of(x))} })
	return c.scale()
}

// curve is a line for each run, in a box of 1000 by 100.
type curve struct {
	Title, Most, Last string
	Lines             []string
}

func (r *Report) curve(title string, text func(float64) string, of func(*Point) float64) curve {
	most, last := 0.0, 1.0
	for _, x := range r.Runs {
		for i := range x.Series {
			most, last = max(most, of(&x.Series[i])), max(last, x.Series[i].At)
		}
	}
	c := curve{Title: title, Most: text(most), Last: "after " + length(last)}
	for _, x := range r.Runs {
		var b strings.Builder
		for i := range x.Series {
			p, y := &x.Series[i], 100.0
			if most > 0 {
				y = 100 - 100*of(p)/most
			}
			fmt.Fprintf(&b, "%.1f,%.2f ", 1000*p.At/last, y)
		}
		c.Lines = append(c.Lines, b.String())
	}
	return c
}

// length is a time of hours and minutes.
func length(seconds float64) string {
	switch {
	case seconds < 120:
		return fmt.Sprintf("%.0f s", seconds)
	case seconds < 2*time.Hour.Seconds():
		return fmt.Sprintf("%.0f min", seconds/60)
	default:
		return fmt.Sprintf("%.1f h", seconds/3600)
	}
}

// thousands is a number, grouped if it is large.
func thousands(x float64) string {
	if x > 0 && x < 10 && x != float64(int(x)) {
		return fmt.Sprintf("%.3g", x)
	}
	s := fmt.Sprintf("%.0f", x)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
