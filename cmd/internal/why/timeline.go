package why

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlane/scheduler"
)

// moment is a line of the timeline.
type moment struct {
	at   time.Time
	what string
}

// timeline is what happened, and when.
func (t *teller) timeline() string {
	came := "came"
	if p := t.q.Arrived.Position; p > 0 {
		came += ", number " + strconv.Itoa(p)
	}
	all := []moment{{t.r.At, came}}
	for _, s := range t.q.Times {
		if d := s.To.Sub(s.From); d >= t.worth() {
			all = append(all, moment{s.From, fmt.Sprintf("%s, for %s", obstacle(s.By), scheduler.Words(d))})
		}
	}
	for _, a := range t.q.Attempts {
		all = append(all, moment{a.At, "given to " + a.Backend})
		if a.End != "" && !a.EndedAt.IsZero() && a.End != string(t.outcome()) {
			all = append(all, moment{a.EndedAt, a.Backend + " " + attemptEnd(a.End)})
		}
	}
	if t.e.TTFTMS > 0 {
		all = append(all, moment{t.r.At.Add(ms(t.e.TTFTMS)), "the answer began"})
	}
	if ended := later(t.e.EndedAt, t.q.EndedAt); !ended.IsZero() {
		all = append(all, moment{ended, string(t.outcome())})
	}
	slices.SortStableFunc(all, func(a, b moment) int { return a.at.Compare(b.at) })
	var out strings.Builder
	for _, m := range all {
		fmt.Fprintf(&out, "  %s  %12s  %s\n", m.at.In(t.loc).Format("15:04:05.000"), "+"+scheduler.Words(m.at.Sub(t.r.At)), m.what)
	}
	return out.String()
}

// later is when it ended for its client, or else for the queue.
func later(edge, queue time.Time) time.Time {
	if edge.IsZero() {
		return queue
	}
	return edge
}

func ms(x float64) time.Duration { return time.Duration(x * float64(time.Millisecond)) }

// number is one that need not be exact.
func number(x float64) string {
	if math.Abs(x) >= 10 {
		x = math.Round(x)
	}
	return strconv.FormatFloat(math.Round(x*100)/100, 'f', -1, 64)
}

// wrap breaks a paragraph into lines.
func wrap(s string, width int) string {
	var out strings.Builder
	used := 0
	for word := range strings.FieldsSeq(s) {
		n := len([]rune(word))
		if used > 0 && used+1+n > width {
			out.WriteByte('\n')
			used = 0
		}
		if used > 0 {
			out.WriteByte(' ')
			used++
		}
		out.WriteString(word)
		used += n
	}
	return cmp.Or(out.String(), s)
}
