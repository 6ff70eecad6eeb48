package simulate

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlane/scheduler/arrivals"
)

// What a run can hold: about a gigabyte at the worst.
const (
	mostWaiting  = 1_000_000  // requests at once
	mostPeople   = 1_000_000  // with those who come once
	mostRequests = 50_000_000 // in a run
)

// The bounds of what is written.
const (
	longestRun                = 1000 * time.Hour
	leastWeight, mostWeight   = 0.01, 1000 // as a configuration's
	leastRate, mostRate       = 1e-6, 1e6  // requests a second
	mostLength                = 1e9        // tokens, or milliseconds
	mostSigma, mostFactor     = 10, 1000
	mostSlots, mostMachines   = 100_000, 1000
	mostSequences, mostFaults = 128, 20
)

// faults collects what is wrong with a workload.
type faults struct{ errs []error }

func (f *faults) add(key, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
}

// within adds a number that is none, or that is out of bounds.
func (f *faults) within(key string, x, least, most float64) {
	if !(x >= least && x <= most) { // nor is what is no number
		f.add(key, "%s does not do: a number from %s to %s is needed", plain(x), plain(least), plain(most))
	}
}

// plain is a number as people write it.
func plain(x float64) string {
	if math.Abs(x) > mostLength {
		return fmt.Sprint(x)
	}
	return strconv.FormatFloat(x, 'f', -1, 64)
}

func (f *faults) span(key string, d, least, most time.Duration) {
	if d < least || d > most {
		f.add(key, "%s does not do: a time from %s to %s is needed, like 30s or 5m", d, least, most)
	}
}

func (f *faults) err() error {
	if n := len(f.errs); n > mostFaults {
		f.errs = append(f.errs[:mostFaults], fmt.Errorf("and %d more", n-mostFaults))
	}
	if len(f.errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrWorkload, errors.Join(f.errs...))
}

// Validate fills in what is not given and says what is wrong, by key. Whoever
// changes what was read validates it again.
func (w *Workload) Validate() error {
	f := &faults{}
	f.span("duration", w.Duration, time.Nanosecond, longestRun)
	f.span("warmup", w.Warmup, 0, longestRun)
	f.within("requests", float64(w.Requests), 0, mostRequests)
	if len(w.Users) == 0 && len(w.Recorded) == 0 {
		f.add("users", "there are no users; one is needed, as in `users: [{name: a, load: {rate: 1}}]`")
	}
	if len(w.Recorded) > mostRequests/10 {
		f.add("records", "%d are too many; %d can be played, so give fewer files", len(w.Recorded), mostRequests/10)
	}
	w.tree(f)
	fits := w.gpu(f)
	names, c := map[string]bool{}, &crowd{}
	for i := range w.Users {
		u, key := &w.Users[i], fmt.Sprintf("users[%d]", i)
		if _, known := w.Classes[u.Class]; u.Class != "" && !known {
			f.add(key+".class", "%q is not among the workload's classes: %s", u.Class, strings.Join(slices.Sorted(maps.Keys(w.Classes)), ", "))
		}
		if names[u.Name] {
			f.add(key+".name", "%s is there twice; give each its own, or one of them a count", u.Name)
		}
		names[u.Name] = true
		u.validate(f, key, fits)
		u.Load.validate(f, key+".load", w.Warmup+w.Duration)
		c.add(f, key, u, w.Warmup+w.Duration)
	}
	return f.err()
}

// gpu checks the backends and says how many tokens fit; 0: that is not known.
func (w *Workload) gpu(f *faults) (fits int) {
	g := &w.GPU
	if g.Profile == "" {
		g.Profile = "h100"
	}
	f.within("gpu.backends", float64(g.Backends), 0, mostMachines)
	f.within("gpu.slots", float64(g.Slots), 0, mostSlots)
	f.within("gpu.kv_tokens", float64(g.KVTokens), 0, mostLength)
	g.Backends = max(g.Backends, 1)
	p, err := g.model()
	if err != nil {
		f.add("gpu.profile", "%v", err)
	}
	return p.KVTokens
}

// tree checks the levels and the classes.
func (w *Workload) tree(f *faults) {
	trees := [...]string{"", "class user", "user", "class group user"}
	if !slices.Contains(trees[:], strings.Join(w.Share, " ")) {
		f.add("share", "[%s] is no tree: [class, user], [user] or [class, group, user] is needed", strings.Join(w.Share, ", "))
	}
	kept := 0
	for _, name := range slices.Sorted(maps.Keys(w.Classes)) {
		c := w.Classes[name]
		f.within("classes."+name+".weight", c.Weight, leastWeight, mostWeight)
		f.within("classes."+name+".headroom", float64(c.Headroom), 0, mostSlots)
		kept += min(max(c.Headroom, 0), mostSlots)
	}
	if slots := w.GPU.Slots * max(w.GPU.Backends, 1); slots > 0 && 2*kept >= slots {
		f.add("classes", "headrooms of %d in all leave less than half of the %d slots to everybody: lower them", kept, slots)
	}
}

func (u *User) validate(f *faults, key string, fits int) {
	if u.Name == "" {
		f.add(key+".name", "one is needed")
	}
	f.within(key+".count", float64(u.Count), 0, mostPeople)
	if u.Weight != 0 {
		f.within(key+".weight", u.Weight, leastWeight, mostWeight)
	}
	f.within(key+".max_running", float64(u.MaxRunning), 0, mostWaiting)
	f.within(key+".sequences", float64(u.Sequences), 0, mostSequences)
	f.within(key+".max_tokens", float64(u.MaxTokens), 0, mostLength)
	u.Input.validate(f, key+".input")
	u.Output.validate(f, key+".output")
	if u.Patience != nil {
		u.Patience.validate(f, key+".patience")
	}
	if long := u.Input.usual(); fits > 0 && long >= float64(fits) {
		f.add(key+".input", "%.0f tokens, which every other prompt has, do not fit the %d of the GPU's KV cache: shorten them, or take another gpu.profile", long, fits)
	}
	if u.Cached == nil {
		return
	}
	u.Cached.validate(f, key+".cached")
	if cached, in := u.Cached.usual(), u.Input.usual(); cached > in {
		f.add(key+".cached", "%.0f tokens are more than the %.0f of a usual prompt, of which they are a part: lower them, or raise input", cached, in)
	}
}

func (l *Lengths) validate(f *faults, key string) {
	var given []string
	for _, x := range [...]struct {
		name string
		of   float64
		most float64
		one  bool // of which one is given
	}{
		{"fixed", l.Fixed, mostLength, true},
		{"median", l.Median, mostLength, true},
		{"pareto", l.Pareto, mostLength, true},
		{"mean", l.Mean, mostLength, true},
		{"sigma", l.Sigma, mostSigma, false},
		{"min", l.Min, mostLength, false},
		{"max", l.Max, mostLength, false},
	} {
		f.within(key+"."+x.name, x.of, 0, x.most)
		if x.one && x.of != 0 {
			given = append(given, x.name)
		}
	}
	switch {
	case len(given) > 1:
		f.add(key, "%s exclude each other: give one of them", strings.Join(given, ", "))
	case l.Pareto > 0 && l.Min <= 0:
		f.add(key+".pareto", "it needs a min, from which it begins")
	case l.Max > 0 && l.Min > l.Max:
		f.add(key+".min", "%v is larger than max, which is %v", l.Min, l.Max)
	}
}

// checkRecord says what is wrong with a record, by its number.
func checkRecord(a *arrivals.Arrival, n int) error {
	f, key := &faults{}, fmt.Sprintf("record %d: ", n)
	f.within(key+"n", float64(a.Sequences), 0, mostSequences)
	for name, x := range map[string]int{"in": a.Input, "out": a.Output, "ca": a.Cached, "est": a.Estimate, "max": a.MaxTokens, "ch": a.Chars} {
		f.within(key+name, float64(x), 0, mostLength)
	}
	return f.err()
}
