package simulate

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strings"
)

//go:embed report.html
var reportHTML string

// palette tells runs apart, also for those who see few colours.
func palette() []string {
	return []string{"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#999999"}
}

// HTML writes the report as one page that needs nothing else.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Parse(reportHTML)
	if err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	var table strings.Builder
	if err := r.Table(&table); err != nil {
		return err
	}
	data := page{Title: r.Workload, About: r.About, Table: table.String()}
	for i, x := range r.Runs {
		data.Runs = append(data.Runs, key{r.title(x), palette()[i%len(palette())]})
	}
	data.Charts = []chart{
		r.shareChart(), r.waitChart(),
		r.curve("Gap: the user furthest from its part, in tokens", func(p *Point) float64 { return p.Gap }),
		r.curve("KV in use", func(p *Point) float64 { return p.KV }),
		r.curve("Requests that wait", func(p *Point) float64 { return float64(p.Waiting) }),
		r.curve("Sequences that run", func(p *Point) float64 { return float64(p.Running) }),
		r.single("Output tokens a second", func(x *Result) float64 { return x.OutputRate }),
		r.single("Jain's index", func(x *Result) float64 { return x.Jain }),
	}
	if err := t.Execute(w, data); err != nil {
		return fmt.Errorf("simulate: %w", err)
	}
	return nil
}

// page is what the template shows.
type page struct {
	Title, About, Table string
	Runs                []key
	Charts              []chart
}

type key struct{ Name, Color string }

// chart is an SVG in a box of width by height, with room for its labels.
type chart struct {
	Title  string
	Height float64
	Bars   []bar
	Lines  []path
	Labels []label
}

type bar struct {
	X, Y, W, H float64
	Color      string
	Hollow     bool // what somebody is entitled to
	Title      string
}

type path struct{ Points, Color string }

type label struct {
	X, Y float64
	Text string
	End  bool
}

const (
	chartWidth  = 900.0
	chartHeight = 240.0
	margin      = 60.0
)

// shareChart are bars of shares, with what was entitled as a frame around them.
func (r *Report) shareChart() chart {
	var groups []group
	for _, name := range r.users() {
		g := group{name: name}
		for _, x := range r.Runs {
			if row := x.user(name); row != nil {
				g.bars = append(g.bars, value{row.Share, row.Entitled, percent(row.Share) + " of " + percent(row.Entitled)})
			} else {
				g.bars = append(g.bars, value{})
			}
		}
		groups = append(groups, g)
	}
	return bars("Share of each user; the frame is what it was entitled to", groups, percent)
}

// waitChart are p50, p90 and p99 of the classes.
func (r *Report) waitChart() chart {
	var groups []group
	for i := range r.Runs[0].Classes {
		name := r.Runs[0].Classes[i].Name
		for _, q := range []struct {
			name string
			of   func(*Quantiles) float64
		}{
			{"p50", func(q *Quantiles) float64 { return q.P50 }},
			{"p90", func(q *Quantiles) float64 { return q.P90 }},
			{"p99", func(q *Quantiles) float64 { return q.P99 }},
		} {
			g := group{name: name + " " + q.name}
			for _, x := range r.Runs {
				v := value{}
				for k := range x.Classes {
					if x.Classes[k].Name == name {
						v.is = q.of(&x.Classes[k].Wait)
					}
				}
				v.title = duration(v.is)
				g.bars = append(g.bars, v)
			}
			groups = append(groups, g)
		}
	}
	return bars("Wait of each class", groups, duration)
}

func (r *Report) single(title string, of func(*Result) float64) chart {
	g := group{}
	for _, x := range r.Runs {
		g.bars = append(g.bars, value{is: of(x), title: number(of(x))})
	}
	return bars(title, []group{g}, number)
}

func number(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.3g", x)
	}
	return fmt.Sprintf("%.0f", x)
}

type group struct {
	name string
	bars []value
}

type value struct {
	is, should float64
	title      string
}

// bars draws a group of bars for each name.
func bars(title string, groups []group, text func(float64) string) chart {
	most := 0.0
	for _, g := range groups {
		for _, b := range g.bars {
			most = max(most, b.is, b.should)
		}
	}
	c := chart{Title: title, Height: chartHeight + margin}
	scale := chartHeight / max(most, math.SmallestNonzeroFloat32)
	room := (chartWidth - margin) / float64(max(len(groups), 1))
	for i, g := range groups {
		w := room * 0.8 / float64(max(len(g.bars), 1))
		left := margin + float64(i)*room
		for k, b := range g.bars {
			x := left + float64(k)*w
			c.Bars = append(c.Bars, bar{X: x, Y: chartHeight - b.is*scale, W: w * 0.9, H: b.is * scale, Color: palette()[k%len(palette())], Title: g.name + ": " + b.title})
			if b.should > 0 {
				c.Bars = append(c.Bars, bar{X: x, Y: chartHeight - b.should*scale, W: w * 0.9, H: b.should * scale, Color: "#444", Hollow: true})
			}
		}
		c.Labels = append(c.Labels, label{X: left, Y: chartHeight + 16 + 14*float64(i%2), Text: g.name})
	}
	c.Labels = append(c.Labels, label{margin - 6, 12, text(most), true}, label{margin - 6, chartHeight, "0", true})
	return c
}

// curve draws a line for each run.
func (r *Report) curve(title string, of func(*Point) float64) chart {
	c := chart{Title: title, Height: chartHeight + margin/2}
	most, last := 0.0, 1.0
	for _, x := range r.Runs {
		for i := range x.Series {
			most, last = max(most, of(&x.Series[i])), max(last, x.Series[i].At)
		}
	}
	for k, x := range r.Runs {
		var b strings.Builder
		for i := range x.Series {
			p := &x.Series[i]
			fmt.Fprintf(&b, "%.1f,%.1f ", margin+p.At/last*(chartWidth-margin), chartHeight-of(p)/max(most, math.SmallestNonzeroFloat32)*chartHeight)
		}
		c.Lines = append(c.Lines, path{b.String(), palette()[k%len(palette())]})
	}
	c.Labels = []label{
		{margin - 6, 12, number(most), true}, {margin - 6, chartHeight, "0", true}, {chartWidth, chartHeight + 18, fmt.Sprintf("%.0f s", last), true},
	}
	return c
}
