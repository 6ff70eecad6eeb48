package admin

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"fairlane/proxy/refusals"
	"fairlane/scheduler"
)

//go:embed page.html
var pageHTML string

// onPage is how many of those who were refused the page names.
const onPage = 10

// view is what the page shows.
type view struct {
	Status

	Now      time.Time
	Warnings []string
	Counts   bool // refusals are counted in this process
	Refused  []refusals.Refused
}

// page answers with the status for people. It needs nothing from elsewhere and runs no
// script: the browser asks again after five seconds.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	v := &view{Status: s.cfg.Status(), Now: time.Now()}
	if s.cfg.Refusals != nil {
		v.Counts, v.Refused = true, s.cfg.Refusals.Top(onPage)
	}
	body, err := v.render()
	if err != nil {
		s.cfg.Logger.ErrorContext(r.Context(), "the page can't be made", slog.Any("error", err))
		http.Error(w, "the page can't be made: /api/v1/status has the same", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write(body) // who does not read it to its end has gone
}

func (v *view) render() ([]byte, error) {
	t, err := template.New("page").Funcs(template.FuncMap{
		"ago":     func(t time.Time) string { return scheduler.Words(max(v.Now.Sub(t).Truncate(time.Second), time.Second)) },
		"seconds": func(s float64) string { return scheduler.Words(time.Duration(s * float64(time.Second))) },
		"percent": percent, "factor": factor, "count": count, "load": loadWords,
	}).Parse(pageHTML)
	if err != nil {
		return nil, err
	}
	v.Warnings = v.warnings()
	var b bytes.Buffer
	err = t.Execute(&b, v)
	return b.Bytes(), err
}

// warnings are what somebody should look at, the most urgent first.
func (s *Status) warnings() (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	if !s.NATS.Up {
		add("The store is not reachable: %s", s.NATS.Detail)
	}
	if s.Config.Error != "" {
		add("The newest configuration was not taken: %s", s.Config.Error)
	}
	for i := range s.Pools {
		out = append(out, s.Pools[i].warnings()...)
	}
	if s.Identity.OpenMode {
		add("Open mode: nobody's identity is verified. Set keys or issuers before others can reach the port.")
	}
	for _, f := range s.Identity.Findings {
		add("%s: %s. %s", f.Forwarder, f.Problem, f.Remedy)
	}
	return append(out, s.Config.Warnings...)
}

func (p *Pool) warnings() (out []string) {
	add := func(format string, args ...any) {
		out = append(out, "Pool "+p.Name+": "+fmt.Sprintf(format, args...))
	}
	for i := range p.Backends {
		if b := &p.Backends[i]; !b.Up {
			add("%s is down: %s", b.URL, b.Detail)
		}
	}
	for _, x := range p.Inversions {
		add("a member of %s is entitled to %s (of %s members), one of the lighter %s to %s (of %s): give %s more weight, or fewer people.",
			x.Heavy, percent(x.HeavyPart), count(x.HeavyMembers), x.Light, percent(x.LightPart), count(x.LightMembers), x.Heavy)
	}
	for _, x := range p.Suspects {
		add("request %s of %s was in flight at two deaths of a backend, at %s.", x.RequestID, x.UserKey, x.At.UTC().Format("15:04 MST"))
	}
	return out
}

// loadWords say what the level means for limits that follow it.
func loadWords(level float64) string {
	switch {
	case level > 0:
		return fmt.Sprintf("Loaded: limits that follow the load are lowered by %s of the way.", percent(level))
	case level < 0:
		return fmt.Sprintf("Idle: limits that follow the load are raised by %s of the way.", percent(-level))
	default:
		return "Neither loaded nor idle for long: limits are as written."
	}
}

func percent(x float64) string { return fmt.Sprintf("%.1f %%", 100*x) }

// factor is a number about 1; 0: it is not known.
func factor(x float64) string {
	if x == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", x)
}

// count is a number, grouped if it is large.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
