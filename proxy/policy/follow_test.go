package policy

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

func parsed(t interface{ Fatal(args ...any) }, text string) *Limits {
	set, err := limit.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return &Limits{Text: text, Set: set}
}

// following is a policy of which the interns' limits follow the load.
func following(t *testing.T, f Follow) *Policy {
	t.Helper()
	cfg := Defaults()
	cfg.Rules = []Rule{
		{
			When: When{Role: []string{"intern"}}, Follow: &f, Limits: parsed(t, "20/minute; 7/second burst 9"), Tokens: parsed(t, "1000/minute"),
			Sizes: &Sizes{Light: Size{Limits: parsed(t, "3/minute")}},
		},
		{When: When{Role: []string{"clerk"}}, Name: "clerks", Follow: &f, Tokens: parsed(t, "500/minute")},
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ask(p *Policy, role string, load int) map[BucketKind]Bucket {
	d, _ := p.Decide(&identity.Identity{UserKey: "user:a", Roles: []string{role}}, &Query{Endpoint: openai.Chat, Sequences: 1, MaxTokens: 1, Load: load})
	out := map[BucketKind]Bucket{}
	for _, b := range d.Buckets {
		out[b.Kind] = b
	}
	return out
}

func TestLimitsFollowTheLoad(t *testing.T) {
	t.Parallel()
	p := following(t, Follow{From: 0.5, To: 2})
	for _, tt := range []struct {
		load                   int
		requests, tokens, size string
		factor                 float64 // 0: as written
	}{
		{0, "20/minute; 7/second burst 9", "1000/minute", "3/minute", 0},
		{10, "10/minute; 4/second burst 5", "500/minute", "2/minute", 0.5},
		{99, "10/minute; 4/second burst 5", "500/minute", "2/minute", 0.5},
		{5, "15/minute; 5/second burst 7", "750/minute", "2/minute", 0.75},
		{-10, "40/minute; 14/second burst 18", "2000/minute", "6/minute", 2},
		{-99, "40/minute; 14/second burst 18", "2000/minute", "6/minute", 2},
		{-1, "22/minute; 8/second burst 10", "1100/minute", "3/minute", 1.1},
	} {
		b := ask(p, "intern", tt.load)
		if got := []string{b[Requests].Text, b[Tokens].Text, b[BySize].Text}; !cmp.Equal(got, []string{tt.requests, tt.tokens, tt.size}) || math.Abs(b[Requests].Factor-tt.factor) > 1e-9 {
			t.Errorf("at %d: %q, factor %v", tt.load, got, b[Requests].Factor)
		}
		for kind, one := range b {
			if again := parsed(t, one.Text); !cmp.Equal(again.Set, one.Limits) {
				t.Errorf("at %d, kind %d: %q says %v, in force is %v", tt.load, kind, one.Text, again.Set, one.Limits)
			}
			if written := ask(p, "intern", 0)[kind]; one.Key() != written.Key() || one.Written != nil && one.Written.Text != written.Text {
				t.Errorf("at %d, kind %d: the bucket is %s and as written %v", tt.load, kind, one.Key(), one.Written)
			}
		}
	}
	for _, load := range []int{-10, 10} { // what other rules say follows nothing
		if b := ask(p, "clerk", load)[Requests]; b.Text != "100/minute" || b.Written != nil {
			t.Errorf("at %d the built-in limit is %q", load, b.Text)
		}
		if b := ask(p, "clerk", load)[Tokens]; b.Written == nil {
			t.Errorf("at %d the clerks' tokens are %q", load, b.Text)
		}
	}
	want := []Following{{"policy[0]", Follow{0.5, 2}}, {"clerks", Follow{0.5, 2}}}
	if diff := cmp.Diff(want, p.Following()); diff != "" {
		t.Error(diff)
	}
}

// TestFactors: whatever is written, what is in force lies between the two factors,
// rounded, falls as the load rises, and keeps its period.
func TestFactors(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := Follow{From: rapid.Float64Range(leastFactor, 1).Draw(t, "from"), To: rapid.Float64Range(1, mostFactor).Draw(t, "to")}
		l := limit.Limit{
			N: rapid.Int64Range(1, 1e12).Draw(t, "n"), Burst: rapid.Int64Range(1, 1e6).Draw(t, "burst"),
			Period: time.Duration(rapid.Int64Range(1, int64(24*time.Hour)).Draw(t, "period")),
		}
		if l.Validate() != nil {
			t.Skip()
		}
		g, before := grade(&Limits{Text: l.String(), Set: []limit.Limit{l}}, &f), int64(math.MaxInt64)
		for level := -scheduler.MostLoad - 1; level <= scheduler.MostLoad+1; level++ {
			b := g.bucket(level)
			got := b.Limits[0]
			if got.Validate() != nil || got.Period != l.Period {
				t.Fatalf("at %d: %v", level, got)
			}
			low, high := math.Floor(f.From*float64(l.N)), math.Ceil(f.To*float64(l.N))
			if n := float64(got.N); n < min(low, float64(l.N)) || n > high || got.N > before {
				t.Fatalf("at %d: %d of %d, before %d", level, got.N, l.N, before)
			}
			before = got.N
			if level == 0 && (b.Written != nil || got != l) {
				t.Fatalf("at 0: %v", got)
			}
		}
	})
}

// TestWhatFitsAsWrittenFits: a request that a full bucket takes as it is written is
// taken by a full one at every level, and the longest that the model takes always.
func TestWhatFitsAsWrittenFits(t *testing.T) {
	t.Parallel()
	p := following(t, Follow{From: 0.01, To: 3})
	need := Need{InputTokens: 5000, OutputTokens: 1000, Longest: 8192, Sequences: 3}
	for load := -scheduler.MostLoad; load <= scheduler.MostLoad; load++ {
		d, _ := p.Decide(&identity.Identity{UserKey: "user:a", Roles: []string{"intern"}}, &Query{Endpoint: openai.Chat, Sequences: 3, MaxTokens: 1, Load: load})
		dr := Draw(d.Buckets, need)
		for i, c := range dr.Charges {
			if c.Cost > c.Limit.Room() {
				t.Errorf("at %d: a cost of %d for ever, of %v", load, c.Cost, c.Limit)
			}
			if dr.From[i].Kind == Tokens && (c.Limit.Room() < 8192 || c.Cost != 6000) {
				t.Errorf("at %d: %d tokens of %v", load, c.Cost, c.Limit)
			}
		}
	}
	// What is too much as it is written is too much at every level.
	d, _ := p.Decide(&identity.Identity{UserKey: "user:a", Roles: []string{"intern"}}, &Query{Endpoint: openai.Chat, Sequences: 1, MaxTokens: 1, Load: scheduler.MostLoad})
	for i, c := range Draw(d.Buckets, Need{Sequences: 10}).Charges {
		if l := d.Buckets[0].Written.Set; i < len(l) && c.Cost > l[i].Room() != (c.Cost > c.Limit.Room()) {
			t.Errorf("%d of %v, written %v", c.Cost, c.Limit, l[i])
		}
	}
}

func TestWrongFactors(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]Follow{
		"policy[0].limits_follow_load.from: 0 is outside 0.01 to 1":   {0, 2},
		"policy[0].limits_follow_load.from: -1 is outside 0.01 to 1":  {-1, 2},
		"policy[0].limits_follow_load.from: 1.5 is outside 0.01 to 1": {1.5, 2},
		"policy[0].limits_follow_load.from: NaN is outside 0.01 to 1": {math.NaN(), 2},
		"policy[0].limits_follow_load.to: 0.5 is outside 1 to 100":    {0.5, 0.5},
		"policy[0].limits_follow_load.to: +Inf is outside 1 to 100":   {0.5, math.Inf(1)},
		"policy[0].limits_follow_load: from and to are both 1":        {1, 1},
	} {
		cfg := Defaults()
		cfg.Rules = []Rule{{Limits: parsed(t, "3/minute"), Follow: &f}}
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, expected %q", f, err, want)
		}
	}
	cfg := Defaults()
	cfg.Rules = []Rule{{Class: new("vip"), Follow: &Follow{0.5, 2}}}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "policy[0].limits_follow_load: the rule has no limits, tokens or sizes") {
		t.Error(err)
	}
}

// TestFollowingAllocatesNoMore: the limits of every level are made with the policy.
func TestFollowingAllocatesNoMore(t *testing.T) {
	p := following(t, Follow{From: 0.5, To: 2})
	id, q := &identity.Identity{UserKey: "user:a", Roles: []string{"intern"}}, &Query{Endpoint: openai.Chat, Sequences: 1, MaxTokens: 1, Load: 7}
	if n := testing.AllocsPerRun(100, func() { p.Decide(id, q) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
