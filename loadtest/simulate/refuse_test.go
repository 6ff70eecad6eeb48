package simulate

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
	"fairlane/scheduler/arrivals"
	"fairlane/scheduler/turn"
)

// described is a workload of text.
func described(t testing.TB, text string) *Workload {
	t.Helper()
	w, err := ParseWorkload([]byte(text), "w.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// ruled is a setup in which rules decide.
func ruled(t testing.TB, classes map[string]policy.Class, rules ...policy.Rule) *Setup {
	t.Helper()
	cfg := policy.Defaults()
	cfg.Rules = rules
	s := &Setup{Turn: turn.Policy{Classes: map[string]turn.Class{}}, MaxQueued: map[string]int{}}
	for name, c := range classes {
		cfg.Classes[name], cfg.DefaultClass = c, name
		s.Turn.Classes[name] = turn.Class{Weight: c.Weight, Newest: c.CoDel}
		s.MaxQueued[name] = c.MaxQueued
	}
	var err error
	if s.Rules, err = policy.New(cfg); err != nil {
		t.Fatal(err)
	}
	return s
}

func limits(t testing.TB, text string) *policy.Limits {
	t.Helper()
	set, err := limit.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Limits{Text: text, Set: set}
}

func runIn(t testing.TB, w *Workload, s *Setup, p Policy) *Result {
	t.Helper()
	r, err := Run(t.Context(), w, s, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const floods = `
duration: 10m
warmup: 1m
gpu: {profile: h100, slots: 8}
users: [{name: script, input: {fixed: 100}, output: {fixed: 50}, load: {rate: 5}}]`

// TestBucketsRefuse what is too much, on virtual time, and nothing else.
func TestBucketsRefuse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		rule policy.Rule
		why  string
		most int // served in ten minutes
	}{
		"requests": {policy.Rule{Limits: limits(t, "60/minute")}, "requests", 600},
		"tokens":   {policy.Rule{Limits: limits(t, "600/minute"), Tokens: limits(t, "9000/minute")}, "tokens", 600},
		"size":     {policy.Rule{Limits: limits(t, "600/minute"), Sizes: &policy.Sizes{Light: policy.Size{Limits: limits(t, "60/minute")}}}, "size", 600},
	} {
		r := runIn(t, described(t, floods), ruled(t, map[string]policy.Class{"all": {Weight: 1, MaxWait: time.Minute}}, want.rule), Fair)
		e := &r.Classes[0].Ends
		if e.RefusedBy[want.why] != e.Refused || e.Served < want.most*19/20 || e.Served > want.most*21/20 {
			t.Errorf("%s: %+v", text, e)
		}
		if lost := e.Asked - e.Served - e.Refused; lost < -20 || lost > 20 {
			t.Errorf("%s: of %d asked %d ended somehow else", text, e.Asked, lost)
		}
	}
}

// TestWhoCannotBeServedInTimeIsRefused at once, and who waits in a class that sheds
// after half of its time.
func TestWhoCannotBeServedInTimeIsRefused(t *testing.T) {
	t.Parallel()
	const overload = `
duration: 10m
gpu: {profile: h100, slots: 8}
users: [{name: many, input: {fixed: 100}, output: {fixed: 500}, load: {rate: 20, once: true}}]`
	patient := policy.Class{Weight: 1, MaxWait: 20 * time.Second}
	rule := policy.Rule{Limits: limits(t, "600/minute")}
	r := runIn(t, described(t, overload), ruled(t, map[string]policy.Class{"all": patient}, rule), Fair)
	if e := &r.Classes[0].Ends; e.RefusedBy["deadline"] < e.Asked/4 || r.Classes[0].Wait.P99 > 20.5 {
		t.Errorf("%+v, %v", e, r.Classes[0].Wait)
	}
	patient.CoDel = true
	r = runIn(t, described(t, overload), ruled(t, map[string]policy.Class{"all": patient}, rule), Fair)
	if e := &r.Classes[0].Ends; e.RefusedBy["shed"] == 0 || e.Expired > 0 || r.Classes[0].Wait.P99 > 10.5 {
		t.Errorf("%+v, %v", e, r.Classes[0].Wait)
	}
	patient.MaxQueued = 10
	r = runIn(t, described(t, overload), ruled(t, map[string]policy.Class{"all": patient}, rule), Fair)
	if e := &r.Classes[0].Ends; e.RefusedBy["class_queue"] == 0 || r.StillWaiting > 10 {
		t.Errorf("%+v", e)
	}
}

// TestWhoHangsUpLeavesNothing behind: neither in the queue nor on the engine.
func TestWhoHangsUpLeavesNothing(t *testing.T) {
	t.Parallel()
	w := described(t, `
duration: 10m
gpu: {profile: h100, slots: 4}
classes: {all: {weight: 1}}
users:
  - {name: hasty, class: all, input: {fixed: 8000}, output: {min: 10, max: 400}, patience: {min: 20, max: 3000}, load: {rate: 4, until: 9m}}
  - {name: calm, class: all, input: {fixed: 100}, output: {fixed: 100}, load: {rate: 0.5, until: 9m}}`)
	p, err := newPlay(w, SetupOf(w), Fair)
	if err != nil {
		t.Fatal(err)
	}
	r, err := p.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hasty, calm := r.user("hasty"), r.user("calm")
	if hasty.Left == 0 || hasty.Served == 0 || hasty.Left+hasty.Served != hasty.Asked || calm.Left != 0 || calm.Served != calm.Asked {
		t.Errorf("hasty %+v, calm %+v", hasty.Ends, calm.Ends)
	}
	st := p.machines[0].engine.Stats()
	if p.d.Queue.Len() != 0 || len(p.flying) != 0 || len(p.leavers) != 0 || st.Running+st.Waiting != 0 || p.waiting != 0 || len(p.busy) != 0 {
		t.Errorf("%d wait, %d fly, %d may leave, the engine has %+v, %d tokens wait, %d are busy", p.d.Queue.Len(), len(p.flying), len(p.leavers), st, p.waiting, len(p.busy))
	}
}

const twoClasses = `
duration: 20m
warmup: 1m
gpu: {profile: h100, slots: 32}
classes: {first: {weight: 1}, rest: {weight: 3}}
users:
  - {name: a, class: first, input: {fixed: 200}, output: {fixed: 100}, load: {outstanding: 64}}
  - {name: b, class: rest, weight: 1, input: {fixed: 200}, output: {fixed: 100}, load: {outstanding: 64}}
  - {name: c, class: rest, weight: 2, input: {fixed: 200}, output: {fixed: 100}, load: {outstanding: 64}}`

// TestEntitlementKnowsTiers: who goes first is entitled to all but the floor.
func TestEntitlementKnowsTiers(t *testing.T) {
	t.Parallel()
	for _, floor := range []float64{0, 0.3} {
		w := described(t, twoClasses)
		s := SetupOf(w)
		s.Turn.Tiers = []turn.Tier{{Classes: []string{"first"}, Floor: floor}}
		r := runIn(t, w, s, Fair)
		for name, want := range map[string]float64{"a": 1 - floor, "b": floor / 3, "c": 2 * floor / 3} {
			row := r.user(name)
			if math.Abs(row.Entitled-want) > 0.01 || math.Abs(row.Share-want) > 0.01 {
				t.Errorf("a floor of %g: %s is entitled to %.3f and has %.3f, want %.3f", floor, name, row.Entitled, row.Share, want)
			}
		}
	}
}

// TestEveryPolicyKeepsMaxRunning, those too whose queue knows no users.
func TestEveryPolicyKeepsMaxRunning(t *testing.T) {
	t.Parallel()
	for _, policy := range Policies() {
		w := described(t, strings.ReplaceAll(twoClasses, "output:", "max_running: 3, sequences: 2, output:"))
		w.Duration = 2 * time.Minute
		r := runIn(t, w, SetupOf(w), policy)
		if r.Requests == 0 || r.Running > 6 || r.Running < 5 {
			t.Errorf("%s: %.1f sequences of three people ran, each of whom may have one request of two", policy, r.Running)
		}
	}
}

// TestChangesSayForWhom it is better.
func TestChangesSayForWhom(t *testing.T) {
	t.Parallel()
	row := func(name string, wait float64, refused int) ClassRow {
		return ClassRow{Name: name, Wait: Quantiles{N: 100, P50: wait, P99: wait}, Ends: Ends{Asked: 100, Refused: refused}}
	}
	before := &Result{Setup: "today", Classes: []ClassRow{row("a", 1, 0), row("b", 10, 0), row("c", 5, 0), row("d", 2, 0)}}
	now := &Result{Setup: "new", Classes: []ClassRow{row("a", 1.1, 0), row("b", 2, 0), row("c", 5, 7), row("d", 1, 20)}}
	r := &Report{Workload: "w", Runs: []*Result{before, now}}
	var b strings.Builder
	if err := r.Table(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"new instead of today: It is better for b; worse for c; mixed for d; same for a.",
		"b  better  median wait 2.00 s, was 10 s; p99 2.00 s, was 10 s", "c  worse   refused 7.0 %, was 0.0 %", "a  same\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}

// TestWhoWasRefusedAsksForAsMuchAsElse: a record knows no answer to a refusal.
func TestWhoWasRefusedAsksForAsMuchAsElse(t *testing.T) {
	t.Parallel()
	record := []arrivals.Arrival{
		{User: "a", Output: 100},
		{User: "a", Output: 600, Sequences: 2},
		{User: "b", Output: 50},
		{User: "a", Outcome: "refused"},
		{User: "c", Outcome: "expired", Sequences: 2},
		{User: "a", Endpoint: "embeddings"},
	}
	guess(record)
	var got []int
	for i := range record {
		got = append(got, record[i].Output)
	}
	if diff := cmp.Diff([]int{100, 600, 50, 200, 300, 0}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
