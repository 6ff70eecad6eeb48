package simulate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlane/scheduler/arrivals"
)

// TestAWorkloadThatMakesNoSense is told by key, what is wrong, and what to do.
func TestAWorkloadThatMakesNoSense(t *testing.T) {
	t.Parallel()
	const alone = "duration: 1m\nusers: [{name: a, load: {rate: 1}}]\n"
	user := func(rest string) string { return "duration: 1m\nusers: [{name: a, " + rest + "}]" }
	length := func(rest string) string { return user("load: {rate: 1}, input: {" + rest + "}") }
	for text, why := range map[string]string{
		"":                                                "empty",
		"duration: 1m":                                    "no users",
		"users: [{name: a, load: {rate: 1}}]":             "duration: 0s",
		alone + "warmup: -1s":                             "warmup: -1s",
		alone + "requests: -1":                            "requests: -1",
		alone + "gpu: {profile: h1}":                      "h1",
		alone + "gpu: {slots: -1}":                        "gpu.slots: -1",
		alone + "gpu: {backends: -1}":                     "gpu.backends: -1",
		alone + "gpu: {kv_tokens: -1}":                    "gpu.kv_tokens: -1",
		alone + "share: [user, user]":                     "share: [user, user]",
		alone + "share: [color]":                          "share: [color]",
		alone + "classes: {x: {}}":                        "classes.x.weight: 0",
		alone + "classes: {x: {weight: -1}}":              "classes.x.weight: -1",
		alone + "classes: {x: {weight: 1e12}}":            "from 0.01 to 1000",
		alone + "classes: {x: {weight: .nan}}":            "classes.x.weight: NaN",
		alone + "classes: {x: {weight: 1, headroom: -5}}": "classes.x.headroom: -5",
		alone + "gpu: {slots: 8}\nclasses: {x: {weight: 1, headroom: 4}}":               "classes: headrooms of 4",
		user("weight: -3, load: {rate: 1}"):                                             "users[0].weight: -3",
		user("count: -1, load: {rate: 1}"):                                              "users[0].count: -1",
		user("count: 2000000, load: {outstanding: 1}"):                                  "people",
		user("max_running: -1, load: {rate: 1}"):                                        "users[0].max_running: -1",
		user("max_tokens: -1, load: {rate: 1}"):                                         "users[0].max_tokens: -1",
		user("sequences: 100000, load: {rate: 1}"):                                      "users[0].sequences: 100000",
		user("class: x, load: {rate: 1}"):                                               `"x"`,
		user("klass: x, load: {rate: 1}"):                                               "klass",
		user("load: {}"):                                                                "exactly one of",
		user("load: {rate: 1, backlog: 3}"):                                             "exactly one of",
		user("load: {rate: .inf}"):                                                      "users[0].load.rate: +Inf",
		user("load: {rate: .nan}"):                                                      "users[0].load.rate: NaN",
		user("load: {rate: 10000, shape: [100]}"):                                       "users[0].load: 6e+07 requests",
		user("load: {rate: -1}"):                                                        "users[0].load.rate: -1",
		user("load: {outstanding: -1}"):                                                 "users[0].load.outstanding: -1",
		user("load: {backlog: 2000000}"):                                                "users[0].load.backlog: 2000000",
		user("count: 10, load: {backlog: 200000}"):                                      "at once",
		user("load: {outstanding: 1, once: true}"):                                      "once",
		user("load: {rate: 1, shape: [1, -1]}"):                                         "users[0].load.shape[1]: -1",
		user("load: {rate: 1, shape: [0, 0]}"):                                          "users[0].load.shape: nobody",
		user("load: {rate: 1, bursts: {for: 1s, times: 2}}"):                            "users[0].load.bursts.every: 0s",
		user("load: {rate: 1, bursts: {every: 1m, for: 1s, times: .inf}}"):              "users[0].load.bursts.times: +Inf",
		user("load: {rate: 1, from: 2m}"):                                               "users[0].load.from: 2m",
		user("load: {rate: 1, from: 30s, until: 10s}"):                                  "users[0].load.until: 10s",
		user("load: {outstanding: 1, think: {fixed: .inf}}"):                            "users[0].load.think.fixed: +Inf",
		user("load: {rate: 1}, patience: {mean: -1}"):                                   "users[0].patience.mean: -1",
		user("load: {rate: 1}, input: {fixed: 10}, cached: {fixed: 1000}"):              "users[0].cached: 1000",
		"duration: 1m\nusers: [{name: a, load: {rate: 1}}, {name: a, load: {rate: 1}}]": "users[1].name: a",
		"duration: 1m\nusers: [{load: {rate: 1}}]":                                      "users[0].name",
		length("median: .nan"):                                                          "users[0].input.median: NaN",
		length("fixed: -1"):                                                             "users[0].input.fixed: -1",
		length("median: 9, sigma: 100"):                                                 "users[0].input.sigma: 100",
		length("fixed: 10000000"):                                                       "users[0].input: 10000000",
		length("pareto: 1"):                                                             "users[0].input.pareto",
		length("min: 5, max: 2"):                                                        "users[0].input.min: 5",
		length("fixed: 5, mean: 2"):                                                     "users[0].input: fixed, mean",
	} {
		_, err := ParseWorkload([]byte(text), "w.yaml")
		if !errors.Is(err, ErrWorkload) || !strings.HasPrefix(fmt.Sprint(err), "w.yaml: ") || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q in it", text, err, why)
		}
	}
}

// TestARecordThatIsNone is told from an empty one, and nonsense in it by its place.
func TestARecordThatIsNone(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	line := func(a arrivals.Arrival) string {
		b, err := arrivals.Append(nil, &a)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good := line(arrivals.Arrival{At: at, User: "user:a", Input: 1, Output: 1})
	for text, why := range map[string]string{
		"":        "nothing was recorded",
		"garbage": "no whole record",
		good + line(arrivals.Arrival{At: at, User: "user:a", Input: -1}):                   "record 2: in: -1",
		good + line(arrivals.Arrival{At: at, User: "user:a", Input: 1, Sequences: 100000}): "record 2: n: 100000",
		good + line(arrivals.Arrival{At: at.AddDate(3, 0, 0), User: "user:a", Input: 1}):   "duration: 2630",
	} {
		if _, err := ReadRecorded(strings.NewReader(text), "r.jsonl"); !errors.Is(err, ErrWorkload) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q in it", text, err, why)
		}
	}
}

// TestARunEndsWhenItIsTold, and when more waits than the memory should hold.
func TestARunEndsWhenItIsTold(t *testing.T) {
	t.Parallel()
	w := described(t, "duration: 1000h\nusers: [{name: a, load: {outstanding: 64}}]")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, w, SetupOf(w), Fair); !errors.Is(err, context.Canceled) {
		t.Errorf("it goes on: %v", err)
	}
	p, err := newPlay(w, SetupOf(w), Fair)
	if err != nil {
		t.Fatal(err)
	}
	p.lined = mostWaiting
	if err := p.bounded(t.Context()); err != nil {
		t.Errorf("as many may wait: %v", err)
	}
	p.lined++
	if err := p.bounded(t.Context()); !errors.Is(err, ErrTooMuch) || !strings.Contains(err.Error(), "rate") {
		t.Errorf("more may not wait: %v", err)
	}
	p.lined, p.count = 0, mostRequests+1
	if err := p.bounded(t.Context()); !errors.Is(err, ErrTooMuch) {
		t.Errorf("so many may not come: %v", err)
	}
}

// FuzzParseWorkload: whatever is read either is refused, or begins to run.
func FuzzParseWorkload(f *testing.F) {
	files, err := filepath.Glob("../workloads/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := ParseWorkload(data, "w.yaml")
		if err != nil {
			if !errors.Is(err, ErrWorkload) {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		if bytes.Count(data, []byte{'\n'}) > 100 || people(w) > 1000 {
			return
		}
		w.Requests = 20
		w.Warmup, w.Duration = min(w.Warmup, time.Second), min(w.Duration, time.Second)
		if _, err := Run(t.Context(), w, SetupOf(w), Fair); err != nil && !errors.Is(err, ErrStuck) && !errors.Is(err, ErrTooMuch) {
			t.Errorf("%q: %v", data, err)
		}
	})
}

func people(w *Workload) (n int) {
	for i := range w.Users {
		n += max(w.Users[i].Count, 1) * max(w.Users[i].Load.Outstanding, w.Users[i].Load.Backlog, 1)
	}
	return n
}
