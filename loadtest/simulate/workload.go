package simulate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"go.yaml.in/yaml/v3"

	"fairlane/scheduler/arrivals"
	"fairlane/scheduler/gpumodel"
	"fairlane/scheduler/turn"
)

// Workload is who asks for what.
type Workload struct {
	Name     string
	About    string        // what it is for, in a sentence
	Seed     uint64        // of all that is drawn
	Warmup   time.Duration // at the start, not measured
	Duration time.Duration // measured
	Requests int           // ends the run after so many were served; 0: no bound
	Bounded  bool          // each max_tokens is what is generated, as who plays it over HTTP has to ask
	GPU      GPU
	Share    []string           // without a configuration: levels of the tree
	Classes  map[string]Class   // without a configuration
	Users    []User             // described
	Recorded []arrivals.Arrival `yaml:"-"` // or recorded
}

// GPU is the backends.
type GPU struct {
	Profile  string // of gpumodel; empty: h100
	Backends int    // 0: 1
	Slots    int    // of each, where no configuration says it; 0: learned
	KVTokens int    `yaml:"kv_tokens"` // of each; 0: the profile's

	Model *gpumodel.Profile `yaml:"-"` // instead of a named one
}

// model is how long everything takes.
func (g *GPU) model() (gpumodel.Profile, error) {
	p, err := gpumodel.ProfileByName(g.Profile)
	if g.Model != nil {
		p, err = *g.Model, nil
	}
	if g.KVTokens > 0 {
		p.KVTokens = g.KVTokens
	}
	return p, err
}

// Class is one of a workload without a configuration.
type Class struct {
	Weight   float64
	Headroom int
}

// User is somebody, or so many who are alike.
type User struct {
	Name  string // with more than one, a number is added
	Count int    // 0: 1

	Class      string  // without a configuration
	Weight     float64 // without a configuration; 0: 1
	MaxRunning int     `yaml:"max_running"` // without a configuration

	Email  string // what a configuration's rules look at
	Roles  []string
	Groups []string
	Key    string
	Task   string

	Endpoint  string // empty: chat
	Model     string
	Sequences int      // 0: 1
	Input     Lengths  // prompt tokens
	Output    Lengths  // generated tokens of a sequence
	Cached    *Lengths // of the prompt, the head that its group shares; nil: nothing
	Whole     bool     // the answer does not stream
	MaxTokens int      `yaml:"max_tokens"`
	Patience  *Lengths // milliseconds after which somebody without a first token hangs up; nil: nobody does

	Load Load
}

// Load is how somebody asks. One of Rate, Outstanding and Backlog is given.
type Load struct {
	Rate        float64       // requests a second at random moments, of each
	Outstanding int           // so many at once, the next when one has ended
	Backlog     int           // so many at the start, and no more
	Think       Lengths       // milliseconds between an answer and the next request
	Once        bool          // each request is of somebody new
	From, Until time.Duration // in the whole run; Until 0: to its end
	Shape       []float64     // factors of Rate, in equal parts of the run
	Bursts      *Bursts
}

// Bursts multiply a rate now and then.
type Bursts struct {
	Every, For time.Duration
	Times      float64
}

// ErrWorkload is what a workload that makes no sense is refused with.
var ErrWorkload = errors.New("invalid workload")

// ParseWorkload reads one that is described in YAML.
func ParseWorkload(data []byte, name string) (*Workload, error) {
	w := &Workload{Name: name}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	switch err := d.Decode(w); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%s: %w: it is empty; users and a duration are needed, as in `duration: 30m`", name, ErrWorkload)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %w", name, ErrWorkload, err)
	}
	return w, w.named(name)
}

// named is what Validate says, of a file.
func (w *Workload) named(name string) error {
	if err := w.Validate(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// ReadRecorded reads one that was recorded.
func ReadRecorded(r io.Reader, name string) (*Workload, error) {
	w := &Workload{Name: name, About: "recorded"}
	in := bufio.NewReader(r)
	_, empty := in.Peek(1)
	for a, err := range arrivals.Read(in) {
		if err == nil {
			err = checkRecord(&a, len(w.Recorded)+1)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		w.Recorded = append(w.Recorded, a)
	}
	switch {
	case empty != nil:
		return nil, fmt.Errorf("%s: %w: nothing was recorded", name, ErrWorkload)
	case len(w.Recorded) == 0:
		return nil, fmt.Errorf("%s: %w: it has no whole record; a line is to be one, as history.record_arrivals writes them", name, ErrWorkload)
	}
	first, last := w.Recorded[0].At, w.Recorded[0].At
	for i := range w.Recorded {
		if at := w.Recorded[i].At; at.Before(first) {
			first = at
		} else if at.After(last) {
			last = at
		}
	}
	w.Duration = last.Sub(first) + time.Second
	guess(w.Recorded)
	return w, w.named(name)
}

// guess fills in what nobody saw: how long the answer to who was refused, or left, would
// have been. It is as long as those that its user had, or else everybody.
func guess(record []arrivals.Arrival) {
	type mean struct{ sum, n int }
	users, all := map[string]mean{}, mean{}
	for i := range record {
		if a := &record[i]; a.Output > 0 {
			each := a.Output / max(a.Sequences, 1)
			m := users[a.User]
			users[a.User] = mean{m.sum + each, m.n + 1}
			all = mean{all.sum + each, all.n + 1}
		}
	}
	for i := range record {
		a := &record[i]
		if a.Output > 0 || !turn.Generates(a.Endpoint) {
			continue
		}
		m := users[a.User]
		if m.n == 0 {
			m = all
		}
		a.Output = m.sum / max(m.n, 1) * max(a.Sequences, 1)
	}
}
