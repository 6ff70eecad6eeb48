package proxy

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// factors are the samples of fairlane_limit_factor, by pool and rule.
func factors(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			out[f.GetName()+" "+m.GetLabel()[0].GetValue()+" "+m.GetLabel()[1].GetValue()] = m.GetGauge().GetValue()
		}
	}
	return out
}

// TestWhatIsHeardOfTheLoad counts for ten seconds, and then goes back to nothing, a
// tenth a second. That is said once.
func TestWhatIsHeardOfTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		reg := prometheus.NewRegistry()
		rules := []policy.Following{{Rule: "interns", Follow: policy.Follow{From: 0.5, To: 2}}, {Rule: "interns", Follow: policy.Follow{From: 0.1, To: 1}}}
		l, err := NewLoads(LoadsConfig{
			Pools: []string{"main", "other"}, Rules: func() []policy.Following { return rules }, Metrics: reg, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		is := func(pool string, want int) {
			t.Helper()
			if got := l.Level(pool); got != want {
				t.Errorf("%s is at %d, expected %d", pool, got, want)
			}
		}
		wait := func(d time.Duration) { <-time.After(d) }
		is("main", 0)
		l.Hear("main", 10)
		l.Hear("other", -99)
		l.Hear("nowhere", 5)
		is("main", 10)
		is("other", -scheduler.MostLoad)
		is("nowhere", 0)
		if got := factors(t, reg); len(got) != 2 || got["fairlane_limit_factor main interns"] != 0.5 || got["fairlane_limit_factor other interns"] != 2 {
			t.Errorf("the metric says %v", got)
		}
		wait(9 * time.Second)
		l.Hear("main", 6)
		wait(time.Second)
		is("main", 6)
		is("other", -9)
		wait(9 * time.Second)
		is("main", 5)
		is("other", 0)
		wait(time.Minute)
		is("main", 0)
		is("other", 0)
		if n := strings.Count(log.String(), "nothing is heard"); n != 2 {
			t.Errorf("the silence of two pools is said %d times:\n%s", n, log.String())
		}
		l.Hear("main", 3)
		l.Hear("main", 4)
		is("main", 4)
		if n := strings.Count(log.String(), "can be heard again"); n != 1 {
			t.Errorf("the end of it is said %d times:\n%s", n, log.String())
		}
		rules = nil
		if got := factors(t, reg); len(got) != 0 {
			t.Errorf("where no limits follow the metric says %v", got)
		}
	})
}

// TestALoweredLimitSaysSo, and a raised one is told as it is.
func TestALoweredLimitSaysSo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		factor  float64
		chinese bool
		want    string
	}{
		{0.5, false, "You may send 3 requests a minute while the server is busy; the next one in "},
		{2, false, "You may send 3 requests a minute; the next one in "},
		{0.5, true, "服务器繁忙期间，您每分钟最多发送 3 个请求；"},
		{2, true, "您每分钟最多发送 3 个请求；"},
	} {
		l, _ := limiter()
		d := buckets(t, policy.Requests, ann, "3/minute")
		d.Buckets[0].Factor, d.Buckets[0].Written = tt.factor, &policy.Limits{Text: "6/minute", Set: []limit.Limit{{N: 6, Period: time.Minute, Burst: 6}}}
		need := Need{Sequences: 3, Chinese: tt.chinese}
		take(t, l, d, need)
		need.Sequences = 1
		_, p := l.Take(t.Context(), d, need)
		if p == nil || !strings.HasPrefix(p.Message, tt.want) || p.Limit != "3/minute" {
			t.Errorf("%v: %+v", tt.factor, p)
		}
	}
}

// TestALoadedPoolRefusesForAWhile: what the limit as written lets through at once is
// not told that it never can be, and comes through after a wait.
func TestALoadedPoolRefusesForAWhile(t *testing.T) {
	t.Parallel()
	l, now := limiter()
	d := buckets(t, policy.Requests, ann, "2/minute")
	d.Buckets[0].Factor, d.Buckets[0].Written = 0.5, &policy.Limits{Text: "4/minute", Set: []limit.Limit{{N: 4, Period: time.Minute, Burst: 4}}}
	take(t, l, d, Need{Sequences: 4})
	_, p := l.Take(t.Context(), d, Need{Sequences: 4})
	if p == nil || p.Code != scheduler.CodeRateLimit {
		t.Fatalf("%+v", p)
	}
	*now = now.Add(2 * time.Minute)
	take(t, l, d, Need{Sequences: 4})
	if _, p = l.Take(t.Context(), d, Need{Sequences: 5}); p == nil || p.Code != scheduler.CodeRequestTooLarge {
		t.Errorf("%+v", p)
	}
}
