package dispatcher

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlane/scheduler"
)

// backlogs asks a lot for each of some people, and returns what everybody got
// after a while in which all had work.
func backlogs(h *house, people map[string]wish, each int) func(time.Duration) map[string]float64 {
	clients := map[string][]*client{}
	for range each {
		for name, w := range people {
			w.user, w.in, w.out = name, 10, 50
			clients[name] = append(clients[name], h.ask(w))
		}
	}
	before := map[string]float64{}
	return func(d time.Duration) map[string]float64 {
		advance(d)
		got, out := delivered(clients, time.Now()), map[string]float64{}
		for name := range people {
			out[name] = got[name] - before[name]
		}
		before = got
		return out
	}
}

// parts are the parts in the sum.
func parts(got map[string]float64) map[string]float64 {
	sum := 0.0
	for _, x := range got {
		sum += x
	}
	out := map[string]float64{}
	for name, x := range got {
		out[name] = x / sum
	}
	return out
}

func wantParts(t *testing.T, what string, got, want map[string]float64) {
	t.Helper()
	for name, p := range parts(got) {
		if math.Abs(p-want[name]) > 0.03 {
			t.Errorf("%s: %s got %.3f, is entitled to %.3f; all: %v", what, name, p, want[name], parts(got))
		}
	}
}

func classesOf(weights map[string]float64) map[string]Class {
	out := map[string]Class{}
	for name, w := range weights {
		out[name] = Class{Weight: w}
	}
	return out
}

// TestShares: each tree that can be configured shares as it says, from the entry on.
func TestShares(t *testing.T) {
	people := map[string]wish{
		"ann": {class: "vip", group: "red"}, "bob": {class: "vip", group: "red"},
		"eve": {class: "vip", group: "blue", weight: 2}, "max": {class: "normal", group: "red", weight: 3},
	}
	classes := classesOf(map[string]float64{"vip": 3, "normal": 1})
	for _, tt := range []struct {
		share []string
		want  map[string]float64
	}{
		{nil, map[string]float64{"ann": 0.75 / 4, "bob": 0.75 / 4, "eve": 0.75 / 2, "max": 0.25}},
		{[]string{"user"}, map[string]float64{"ann": 3.0 / 15, "bob": 3.0 / 15, "eve": 6.0 / 15, "max": 3.0 / 15}},
		{[]string{"class", "group", "user"}, map[string]float64{"ann": 0.75 / 4, "bob": 0.75 / 4, "eve": 0.75 / 2, "max": 0.25}},
	} {
		t.Run(strings.Join(tt.share, " "), func(t *testing.T) {
			inHouse(t, plan{classes: classes, share: tt.share}, func(h *house) {
				got := backlogs(h, people, 300)
				wantParts(t, "after a while", got(30*time.Second), tt.want)
			})
		})
	}
}

// TestTheTreeIsChangedHot: another share, tiers and weights, while thousands wait.
func TestTheTreeIsChangedHot(t *testing.T) {
	people := map[string]wish{"ann": {class: "vip"}, "bob": {class: "vip"}, "max": {class: "normal"}}
	inHouse(t, plan{classes: classesOf(map[string]float64{"vip": 3, "normal": 1})}, func(h *house) {
		got := backlogs(h, people, 1200)
		wantParts(t, "class, user", got(20*time.Second), map[string]float64{"ann": 0.375, "bob": 0.375, "max": 0.25})
		p := h.config.Policy
		apply := func() { h.dispatchers[0].Apply(p); got(2 * time.Second) }

		p.Classes = classesOf(map[string]float64{"vip": 1, "normal": 2})
		apply()
		wantParts(t, "other weights", got(20*time.Second), map[string]float64{"ann": 1.0 / 6, "bob": 1.0 / 6, "max": 4.0 / 6})

		p.Share = []string{"user"}
		apply()
		wantParts(t, "user", got(20*time.Second), map[string]float64{"ann": 0.25, "bob": 0.25, "max": 0.5})

		p.Classes = classesOf(map[string]float64{"vip": 2, "normal": 1})
		apply()
		wantParts(t, "user, other weights", got(20*time.Second), map[string]float64{"ann": 0.4, "bob": 0.4, "max": 0.2})

		p.Tiers = []Tier{{Classes: []string{"normal"}, Floor: 0.3}}
		apply()
		wantParts(t, "a tier", got(20*time.Second), map[string]float64{"ann": 0.15, "bob": 0.15, "max": 0.7})

		p.Share, p.Tiers = nil, []Tier{{Classes: []string{"vip"}, Floor: 0.1}}
		apply()
		wantParts(t, "another tier", got(20*time.Second), map[string]float64{"ann": 0.45, "bob": 0.45, "max": 0.1})
		h.look(func(l *leader) {
			if err := l.turn.Queue.Check(); err != nil {
				t.Error(err)
			}
		})
		if share := h.gaugesOf("fairlane_class_entitled_share")["normal"]; math.Abs(share-0.1) > 0.01 {
			t.Errorf("told to be entitled to %g", share)
		}
	})
}

// TestATierWithoutAFloorGoesFirst: nobody below starts while somebody above waits.
func TestATierWithoutAFloorGoesFirst(t *testing.T) {
	inHouse(t, plan{tiers: []Tier{{Classes: []string{"normal"}}}, gpus: map[string]int{gpuA: 2}}, func(h *house) {
		var low, high []*client
		for range 10 {
			low = append(low, h.ask(wish{class: "vip", user: "low", in: 10, out: 100}))
		}
		advance(100 * time.Millisecond)
		for range 20 {
			high = append(high, h.ask(wish{user: "high", in: 10, out: 100}))
		}
		last := time.Time{}
		for _, c := range high {
			c.served(t)
			if c.granted.After(last) {
				last = c.granted
			}
		}
		for _, c := range low {
			c.served(t)
			if c.granted.After(low[0].asked.Add(time.Second)) && c.granted.Before(last) {
				t.Errorf("one below was granted %v before the last above", last.Sub(c.granted))
			}
		}
	})
}

// TestPriorityIsAmongOnesOwn: it orders a user's requests, and takes nothing from others.
func TestPriorityIsAmongOnesOwn(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 1}}, func(h *house) {
		got := backlogs(h, map[string]wish{"pushy": {priority: -10}, "calm": {}}, 100)
		urgent := h.ask(wish{user: "calm", in: 10, out: 50, priority: -1})
		urgent.served(t)
		if wait := urgent.granted.Sub(urgent.asked); wait > 3*time.Second {
			t.Errorf("the urgent one waited %v behind the user's own", wait)
		}
		wantParts(t, "after a while", got(20*time.Second), map[string]float64{"pushy": 0.5, "calm": 0.5})
	})
}

// TestWrongUsage: a backend that says nothing of what it served, or what can't be,
// takes no share from anybody: not from who has long answers, nor for them.
func TestWrongUsage(t *testing.T) {
	for name, usage := range map[string]func(scheduler.Usage) scheduler.Usage{
		"none":     func(u scheduler.Usage) scheduler.Usage { u.Known = false; return u },
		"zero":     func(scheduler.Usage) scheduler.Usage { return scheduler.Usage{Known: true} },
		"negative": func(scheduler.Usage) scheduler.Usage { return scheduler.Usage{Known: true, Input: -5, Output: -1} },
		"endless": func(u scheduler.Usage) scheduler.Usage {
			u.Output = math.MaxInt / 2
			return u
		},
		"cached more than there is": func(u scheduler.Usage) scheduler.Usage {
			u.Cached, u.CachedKnown = 1<<40, true
			return u
		},
	} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, plan{}, func(h *house) {
				h.gpus[gpuA].usage = usage
				clients := map[string][]*client{}
				for i := range 300 {
					clients["long"] = append(clients["long"], h.ask(wish{user: "long", in: 10, out: 300}))
					for range 4 {
						clients["short"] = append(clients["short"], h.ask(wish{user: "short", in: 10, out: 60 + i%30}))
					}
				}
				advance(4 * time.Minute)
				got := delivered(clients, time.Now())
				if p := parts(got)["short"]; name != "endless" && math.Abs(p-0.5) > 0.06 {
					t.Errorf("the short ones got %.3f: %v", p, got)
				} else if p == 0 || p == 1 {
					t.Errorf("somebody got nothing: %v", got)
				}
				for _, c := range append(clients["long"], clients["short"]...) {
					c.served(t)
				}
			})
		})
	}
}

// journal is a log that is read while it is written.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// TestAnInversionIsToldOnce: so many share a class that one of them is entitled to
// less than one of a lighter class.
func TestAnInversionIsToldOnce(t *testing.T) {
	var log journal
	logger := slog.New(slog.NewTextHandler(&log, nil))
	told := func() int { return strings.Count(log.String(), "entitled to less") }
	inHouse(t, plan{classes: classesOf(map[string]float64{"vip": 4, "normal": 1}), gpus: map[string]int{gpuA: 1}, log: logger}, func(h *house) {
		flood := func() {
			for i := range 5 {
				for range 40 {
					h.ask(wish{user: fmt.Sprint("vip", i), class: "vip", in: 10, out: 100})
				}
			}
			for range 80 {
				h.ask(wish{user: "one", in: 10, out: 100})
			}
		}
		flood()
		advance(20 * time.Second)
		if told() != 0 {
			t.Errorf("told after 20 s:\n%s", &log)
		}
		advance(100 * time.Second)
		if told() != 1 {
			t.Errorf("told %d times in two minutes:\n%s", told(), &log)
		}
		s, _ := h.dispatchers[0].Status()
		if len(s.Inverted) != 1 || s.Inverted[0].Heavy != "vip" || s.Inverted[0].HeavyMembers != 5 || s.Inverted[0].LightMembers != 1 {
			t.Errorf("status: %+v", s.Inverted)
		}
		p := h.config.Policy
		p.Classes = classesOf(map[string]float64{"vip": 6, "normal": 1})
		h.dispatchers[0].Apply(p)
		advance(time.Minute)
		if s, _ := h.dispatchers[0].Status(); len(s.Inverted) != 0 || told() != 1 {
			t.Errorf("after more weight: %+v, told %d times", s.Inverted, told())
		}
	})
}

// TestShed: where a class asks for it, the newest of a user is served in time, and
// the oldest are refused after half of their time, unless no backend was up.
func TestShed(t *testing.T) {
	classes := map[string]Class{"normal": {Weight: 1, CoDel: true}, "batch": {Weight: 1}}
	inHouse(t, plan{classes: classes, gpus: map[string]int{gpuA: 1}}, func(h *house) {
		long := func(class string) *client {
			return h.ask(wish{user: class, class: class, in: 10, out: 100, wait: 20 * time.Second})
		}
		var cs []*client
		for range 40 {
			cs = append(cs, long("normal"))
			advance(500 * time.Millisecond)
		}
		newest := long("normal")
		newest.served(t)
		if wait := newest.granted.Sub(newest.asked); wait > 2*time.Second {
			t.Errorf("the newest waited %v", wait)
		}
		advance(30 * time.Second)
		shed := 0
		for _, c := range cs {
			<-c.done
			if c.problem == nil {
				continue
			}
			shed++
			c.refused(t, scheduler.CodeOverloaded, scheduler.ReasonShed)
			if wait := c.ended.Sub(c.asked); wait < 10*time.Second || wait > 10*time.Second+2*tick || c.problem.RetryAfter < time.Second {
				t.Errorf("shed after %v: %+v", wait, c.problem)
			}
		}
		if shed < 10 || shed > 30 {
			t.Errorf("%d of 40 were shed", shed)
		}

		h.gpus[gpuA].kill()
		advance(time.Second)
		waits := []*client{long("normal"), long("normal")}
		advance(12 * time.Second)
		h.gpus[gpuA].revive()
		for _, c := range waits {
			c.served(t)
		}
	})
	kept := map[string]Class{"normal": {Weight: 1, CoDel: true}, "vip": {Weight: 1, Headroom: 1}}
	inHouse(t, plan{classes: kept, gpus: map[string]int{gpuA: 4}}, func(h *house) {
		var cs []*client
		for range 80 {
			cs = append(cs, h.ask(wish{in: 10, out: 100, wait: 20 * time.Second}))
		}
		shed := 0
		for _, c := range cs {
			if <-c.done; c.problem != nil {
				c.refused(t, scheduler.CodeOverloaded, scheduler.ReasonShed)
				shed++
			}
		}
		if shed < 40 {
			t.Errorf("%d were shed while slots were kept for others", shed)
		}
	})
	inHouse(t, plan{classes: classes, gpus: map[string]int{gpuA: 1}}, func(h *house) {
		var cs []*client
		for range 30 {
			cs = append(cs, h.ask(wish{class: "batch", in: 10, out: 100, wait: 20 * time.Second}))
		}
		for i, c := range cs {
			if <-c.done; c.problem != nil {
				c.refused(t, scheduler.CodeQueueTimeout, "")
			} else if i > 25 {
				t.Error("the newest of a class that does not ask for it went first")
			}
		}
	})
}
