package policy

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
)

// TestAgainstAPlainReading compares with the contract read literally: for each key
// the first matching rule that sets it.
func TestAgainstAPlainReading(t *testing.T) {
	words := []string{"a", "b", "c", "d", "e", "f", "g"}
	some := rapid.SliceOfNDistinct(rapid.SampledFrom(words), 1, 6, rapid.ID[string])
	maybe := rapid.Custom(func(t *rapid.T) []string {
		if rapid.IntRange(0, 2).Draw(t, "set") == 0 {
			return some.Draw(t, "values")
		}
		return nil
	})
	rapid.Check(t, func(t *rapid.T) {
		rules := make([]Rule, rapid.IntRange(0, 12).Draw(t, "rules"))
		for i := range rules {
			rules[i].When = When{Role: maybe.Draw(t, "role"), Group: maybe.Draw(t, "group"), Model: maybe.Draw(t, "model")}
			if rapid.Bool().Draw(t, "class") {
				rules[i].Class = new(rapid.SampledFrom([]string{"vip", "standard", "background"}).Draw(t, "which"))
			}
			if rapid.Bool().Draw(t, "running") {
				rules[i].MaxRunning = new(i)
			}
		}
		p, err := New(withRules(rules...))
		if err != nil {
			t.Fatal(err)
		}
		id := &identity.Identity{UserKey: "user:x", Roles: maybe.Draw(t, "roles"), Groups: maybe.Draw(t, "groups")}
		q := &Query{Endpoint: openai.Chat, Model: rapid.SampledFrom(words).Draw(t, "asked"), Sequences: 1}
		d, problem := p.Decide(id, q)
		if problem != nil {
			t.Fatal(problem)
		}
		matches := func(w When) bool {
			shares := func(want, have []string) bool {
				return want == nil || slices.ContainsFunc(have, func(s string) bool { return slices.Contains(want, s) })
			}
			return shares(w.Role, id.Roles) && shares(w.Group, id.Groups) && shares(w.Model, []string{q.Model})
		}
		class, running := "standard", 8
		for i := range slices.Backward(rules) {
			if matches(rules[i].When) {
				if rules[i].Class != nil {
					class = *rules[i].Class
				}
				if rules[i].MaxRunning != nil {
					running = *rules[i].MaxRunning
				}
			}
		}
		if d.Class != class || d.MaxRunning != running {
			t.Fatalf("%s %d, want %s %d", d.Class, d.MaxRunning, class, running)
		}
	})
}

func FuzzGuessTask(f *testing.F) {
	f.Add("### Task:\nGenerate a title")
	f.Add("### Task:\xff\xfe")
	f.Fuzz(func(t *testing.T, s string) {
		if got := GuessTask(s); got != "" && got != GuessTask(s[:min(len(s), 200)]) {
			t.Errorf("%q depends on more than the beginning", s)
		}
	})
}

// fifty are rules of many kinds of which only the last few match.
func fifty(tb testing.TB) *Policy {
	tb.Helper()
	var rules []Rule
	for i := range 45 {
		name := fmt.Sprintf("team-%d", i)
		when := When{Group: []string{name}}
		switch i % 4 {
		case 1:
			when = When{Role: []string{name}, Model: []string{"qwen"}}
		case 2:
			when = When{User: []string{name + "@example.com", "x", "y", "z", "u", "v"}}
		case 3:
			when = When{IP: []string{fmt.Sprintf("192.168.%d.0/24", i)}}
		}
		rules = append(rules, Rule{When: when, Class: new("vip"), Limits: minutely(int64(i + 1)), Weight: new(2.0)})
	}
	cfg := withRules(append(rules, DefaultRules()...)...)
	cfg.Rules = append(cfg.Rules, Rule{When: When{Group: []string{"everybody"}}, Class: new("vip"), Limits: minutely(5)})
	cfg.Sizes.Light.Limits = minutely(60)
	return mustNew(tb, cfg)
}

func someone() *identity.Identity {
	id := anna()
	id.Groups = []string{"R&D", "gold", "berlin", "gpu", "everybody"}
	return id
}

func TestOneAllocation(t *testing.T) {
	p, id, q := fifty(t), someone(), chat()
	if n := testing.AllocsPerRun(100, func() { p.Decide(id, q) }); n > 1 {
		t.Errorf("%v allocations, want the decision alone", n)
	}
}

func BenchmarkDecide50Rules(b *testing.B) {
	p, id, q := fifty(b), someone(), chat()
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(id, q)
	}
}
