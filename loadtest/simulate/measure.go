package simulate

import (
	"math"
	"slices"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/fairqueue"
)

// points is about how many a curve has.
const points = 240

// mostRows bounds how many people a report names; the others share a row.
const mostRows = 40

// measure is what a run comes to.
type measure struct {
	from, end time.Duration
	rows      []*tally
	names     map[string]int // of people who were recorded
	served    int
	delivered float64

	had      []*person // to whom something was delivered in this second
	hungry   []*person
	requests int
	input    int
	output   int
	kv       float64
	kvMost   float64
	running  float64
	seconds  int
	every    int // seconds of a point
	series   []Point
	gap      float64
}

// tally is a row while it is counted.
type tally struct {
	name, class       string
	persons           map[*person]bool
	served            int
	asked             int
	refused           map[string]int // by reason
	expired, left     int
	waits, firsts     []float32 // seconds
	delivered, entitl float64
}

func (m *measure) begin(w *Workload) {
	m.from, m.end = w.Warmup, w.Warmup+w.Duration
	m.every = max(int(w.Duration/time.Second)/points, 1)
	m.names = map[string]int{}
	for i := range w.Users {
		m.rows = append(m.rows, &tally{name: w.Users[i].Name, class: w.Users[i].Class, persons: map[*person]bool{}})
	}
}

// rowOf is the row of somebody who was recorded.
func (m *measure) rowOf(user, class string) int {
	key := user + "\x00" + class
	if i, ok := m.names[key]; ok {
		return i
	}
	if len(m.rows) >= mostRows {
		key, user = "\x00"+class, "others"
		if i, ok := m.names[key]; ok {
			return i
		}
	}
	m.names[key] = len(m.rows)
	m.rows = append(m.rows, &tally{name: user, class: class, persons: map[*person]bool{}})
	return m.names[key]
}

func (m *measure) of(who *person) *tally {
	t := m.rows[who.row]
	if !t.persons[who] {
		t.persons[who] = true
		t.class = who.class
	}
	return t
}

func (m *measure) asked(now time.Duration, who *person) {
	if now >= m.from {
		m.of(who).asked++
	}
}

func (m *measure) refused(now time.Duration, who *person, why scheduler.Reason) {
	if now < m.from {
		return
	}
	t := m.of(who)
	if t.refused == nil {
		t.refused = map[string]int{}
	}
	t.refused[string(why)]++
}

func (m *measure) expired(now time.Duration, who *person) {
	if now >= m.from {
		m.of(who).expired++
	}
}

func (m *measure) hungUp(now time.Duration, who *person) {
	if now >= m.from {
		m.of(who).left++
	}
}

func (m *measure) granted(now time.Duration, j *job) {
	if j.at >= m.from {
		t := m.of(j.who)
		t.waits = append(t.waits, float32((now - j.at).Seconds()))
	}
}

func (m *measure) first(now time.Duration, j *job) {
	if j.at >= m.from {
		t := m.of(j.who)
		t.firsts = append(t.firsts, float32((now - j.at).Seconds()))
	}
}

func (m *measure) completed(now time.Duration, j *job, u scheduler.Usage) {
	m.served++
	if now >= m.from {
		m.of(j.who).served++
		m.requests++
		m.input += u.Input
		m.output += u.Output
	}
}

// deliver counts cost that was delivered to somebody.
func (m *measure) deliver(now time.Duration, who *person, c fairqueue.Cost) {
	if now < m.from || c == 0 {
		return
	}
	if who.second == 0 {
		m.had = append(m.had, who)
	}
	x := float64(c) / float64(fairqueue.Token)
	who.delivered += x
	who.second += x
	m.delivered += x
}

// second says who was entitled to what of it.
func (m *measure) second(now time.Duration, busy []*person, t *tree, p Point) {
	if now <= m.from {
		return
	}
	m.hungry = m.hungry[:0]
	for _, who := range busy {
		if who.hungry(now) {
			m.hungry = append(m.hungry, who)
			who.seconds++
			m.of(who)
		}
	}
	for _, who := range m.had {
		m.of(who)
	}
	t.divide(m.had, m.hungry)
	m.had = m.had[:0]
	m.seconds++
	m.kv, m.kvMost, m.running = m.kv+p.KV, max(m.kvMost, p.KV), m.running+float64(p.Running)
	for _, who := range m.hungry {
		if who.backlogged(m.seconds) {
			p.Gap = max(p.Gap, math.Abs(who.delivered-who.entitled))
		}
	}
	m.gap = max(m.gap, p.Gap)
	if m.seconds%m.every == 0 {
		p.At = (now - m.from).Seconds()
		m.series = append(m.series, p)
	}
}

// backlogged reports whether somebody had something waiting in about every second
// so far.
func (p *person) backlogged(seconds int) bool {
	return p.seconds > 0 && p.seconds >= seconds-seconds/100
}

// QuantilesOf some waits in seconds, which it sorts.
func QuantilesOf(x []float32) Quantiles {
	if len(x) == 0 {
		return Quantiles{}
	}
	slices.Sort(x)
	at := func(q float64) float64 { return float64(x[min(int(q*float64(len(x))), len(x)-1)]) }
	return Quantiles{N: len(x), P50: at(0.5), P90: at(0.9), P99: at(0.99)}
}
