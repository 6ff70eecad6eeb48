package simulate

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fairlane/proxy/policy"
	"fairlane/scheduler/arrivals"
	"fairlane/scheduler/turn"
)

func load(t testing.TB, name string) *Workload {
	t.Helper()
	data, err := os.ReadFile("../workloads/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	w, err := ParseWorkload(data, name)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func run(t testing.TB, w *Workload, p Policy) *Result {
	t.Helper()
	r, err := Run(t.Context(), w, SetupOf(w), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSharesOfTwelveUsers: weights 8:3:1 × 1:1:2:4, answers with a heavy tail, 64
// slots, half an hour, five seeds.
func TestSharesOfTwelveUsers(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		w := load(t, "twelve-users")
		w.Seed = seed + 1
		if r := run(t, w, Fair); r.ShareError > 0.005 || r.Jain < 0.9999 {
			t.Errorf("seed %d: an error of %.2f %%, Jain's index %.4f", w.Seed, 100*r.ShareError, r.Jain)
		}
	}
}

// TestOthersShareWorse: what is compared is told apart by the figures.
func TestOthersShareWorse(t *testing.T) {
	t.Parallel()
	w := load(t, "twelve-users")
	w.Duration = 10 * time.Minute
	fair := run(t, w, Fair)
	for p, least := range map[Policy]float64{FCFS: 5, Strict: 0.99, RoundRobin: 1.5, WFQ: 0.03} {
		r := run(t, w, p)
		if r.ShareError < least || r.ShareError < 5*fair.ShareError {
			t.Errorf("%s: an error of %.2f %%, fair has %.2f %%", p, 100*r.ShareError, 100*fair.ShareError)
		}
		if r.OutputRate < 0.98*fair.OutputRate || r.OutputRate > 1.02*fair.OutputRate {
			t.Errorf("%s: %.0f tokens a second, fair has %.0f", p, r.OutputRate, fair.OutputRate)
		}
	}
	if r := run(t, w, VTC); r.ShareError > 0.02 {
		t.Errorf("token counters: an error of %.2f %%", 100*r.ShareError)
	}
}

// TestALightUserBesideABacklog waits for less than one slot to turn over, and with
// headroom for nothing, at the price of little throughput.
func TestALightUserBesideABacklog(t *testing.T) {
	t.Parallel()
	w := load(t, "light-beside-backlog")
	fair, fcfs := run(t, w, Fair), run(t, w, FCFS)
	turnover := 1 / fair.RequestRate
	if got := fair.class("light").Wait.P50; got > turnover {
		t.Errorf("the median wait is %.3f s, a slot turns over in %.3f s", got, turnover)
	}
	if got := fcfs.class("light").Wait.P50; got < 100 {
		t.Errorf("in one line for all the median wait is %.3f s", got)
	}
	kept := run(t, load(t, "light-with-headroom"), Fair)
	if got := kept.class("light").Wait.P50; got > 0.03 {
		t.Errorf("with headroom the median wait is %.3f s", got)
	}
	if lost := 1 - kept.OutputRate/fair.OutputRate; lost > 0.01 {
		t.Errorf("headroom takes %.2f %% of the throughput", 100*lost)
	}
}

// TestTwentySevenClients: the lightest 23 are served at once, at no throughput lost.
func TestTwentySevenClients(t *testing.T) {
	t.Parallel()
	w := load(t, "vtc-27-clients")
	fair, fcfs := run(t, w, Fair), run(t, w, FCFS)
	f, l := fair.class("light").First, fcfs.class("light").First
	if f.P50 > 2 || f.P90 > 6 || l.P50 < 50*f.P50 {
		t.Errorf("first tokens come after %v, in one line after %v", f, l)
	}
	if fair.OutputRate < 0.97*fcfs.OutputRate {
		t.Errorf("%.0f tokens a second, in one line %.0f", fair.OutputRate, fcfs.OutputRate)
	}
}

// TestWhoStaysIsServedBesideNewcomers: they never stop coming, each with no debt.
func TestWhoStaysIsServedBesideNewcomers(t *testing.T) {
	t.Parallel()
	w := load(t, "newcomers")
	w.Duration = 10 * time.Minute
	if r := run(t, w, Fair); r.user("regular").Served == 0 {
		t.Error("who stays was never served")
	}
}

// TestCountersKnowWeights: also of users who have none of their own.
func TestCountersKnowWeights(t *testing.T) {
	t.Parallel()
	w := load(t, "mixed-day")
	w.Duration = 30 * time.Minute
	if r := run(t, w, VTC); r.class("vip").Wait.P50 > r.class("standard").Wait.P50/2 {
		t.Errorf("a VIP waits %v, others %v", r.class("vip").Wait, r.class("standard").Wait)
	}
}

// TestTheSameSeedGivesTheSame, and another one something else.
func TestTheSameSeedGivesTheSame(t *testing.T) {
	t.Parallel()
	w := load(t, "mixed-day")
	w.Duration = 5 * time.Minute
	a, b := run(t, w, Fair), run(t, w, Fair)
	if diff := cmp.Diff(a, b, cmpopts.IgnoreUnexported(Result{})); diff != "" {
		t.Errorf("two runs differ:\n%s", diff)
	}
	w.Seed = 2
	if c := run(t, w, Fair); reflect.DeepEqual(a.Rows, c.Rows) {
		t.Error("another seed changes nothing")
	}
}

// TestEveryWorkloadRuns a little, under every policy.
func TestEveryWorkloadRuns(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../workloads/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, files)
	}
	for _, f := range files {
		for _, p := range Policies() {
			w := load(t, strings.TrimSuffix(filepath.Base(f), ".yaml"))
			w.Warmup, w.Duration = time.Second, 30*time.Second
			if r := run(t, w, p); r.Requests == 0 {
				t.Errorf("%s, %s: nobody was served", f, p)
			}
		}
	}
}

// TestTheTable is what people read.
func TestTheTable(t *testing.T) {
	t.Parallel()
	w := load(t, "twelve-users")
	w.Duration = 2 * time.Minute
	r := NewReport(w, []*Result{run(t, w, Fair), run(t, w, FCFS)})
	var b, page bytes.Buffer
	if err := errors.Join(r.Table(&b), r.HTML(&page)); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/table.txt"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if html := page.String(); strings.Contains(html, "http") || strings.Contains(html, "<script") || strings.Contains(html, "ZgotmplZ") || strings.Count(html, "<section") != 8 {
		t.Error("the page needs the network, or lacks a chart")
	}
}

// TestRulesSayWhoIsWhat: with a configuration its rules decide, here by role.
func TestRulesSayWhoIsWhat(t *testing.T) {
	t.Parallel()
	w := load(t, "mixed-day")
	w.Duration = 10 * time.Minute
	cfg := policy.Defaults()
	cfg.Rules = append([]policy.Rule{{When: policy.When{Role: []string{"batch"}}, Class: new("vip"), MaxRunning: new(3)}}, cfg.Rules...)
	rules, err := policy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &Setup{Rules: rules, Turn: turn.Policy{Classes: map[string]turn.Class{"vip": {Weight: 8}, "standard": {Weight: 3}, "background": {Weight: 1}}}}
	r, err := Run(t.Context(), w, s, Fair)
	if err != nil {
		t.Fatal(err)
	}
	for name, class := range map[string]string{"batch": "vip", "manager": "standard", "titles": "background"} {
		if got := r.user(name).Class; got != class {
			t.Errorf("%s is in class %q, want %q", name, got, class)
		}
	}
}

// TestWhatWasRecordedIsReplayed, each with the class that it had.
func TestWhatWasRecordedIsReplayed(t *testing.T) {
	t.Parallel()
	var b []byte
	at := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	for i := range 200 {
		a := arrivals.Arrival{At: at.Add(time.Duration(i) * 100 * time.Millisecond), User: "user:a", Class: "vip", Input: 100, Output: 50, Stream: true}
		if i%2 == 1 {
			a.User, a.Class, a.Sequences, a.Stream = "user:b", "standard", 2, false
		}
		var err error
		if b, err = arrivals.Append(b, &a); err != nil {
			t.Fatal(err)
		}
	}
	w, err := ReadRecorded(bytes.NewReader(b), "yesterday")
	if err != nil {
		t.Fatal(err)
	}
	w.Duration += time.Minute
	r := run(t, w, Fair)
	if r.Requests != 200 || r.user("user:a").Served != 100 || r.user("user:b").Class != "standard" || r.StillWaiting != 0 {
		t.Errorf("%d were served: %+v", r.Requests, r.Rows)
	}
}

// BenchmarkMillion serves a million requests; it is to take less than a minute.
func BenchmarkMillion(b *testing.B) {
	w := load(b, "twelve-users")
	w.Duration, w.Requests = 1000*time.Hour, 1_000_000
	for b.Loop() {
		start := time.Now()
		r := run(b, w, Fair)
		b.ReportMetric(float64(time.Since(start).Microseconds())/float64(r.Requests), "µs/request")
		b.ReportMetric(r.Seconds, "virtual-s")
	}
}
