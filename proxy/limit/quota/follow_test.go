package quota

import (
	"context"
	"log/slog"
	"testing"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
)

// TestAnOverrideFollowsNoLoad, whatever the rule does that it replaces; and what is in
// force for others is told with what is written.
func TestAnOverrideFollowsNoLoad(t *testing.T) {
	t.Parallel()
	cfg := policy.Defaults()
	cfg.Rules = []policy.Rule{{
		Limits: &policy.Limits{Text: "20/minute", Set: limits(t, "20/minute")}, Follow: &policy.Follow{From: 0.5, To: 2},
		Sizes: &policy.Sizes{Light: policy.Size{Limits: &policy.Limits{Text: "8/minute", Set: limits(t, "8/minute")}}},
	}}
	rules, err := policy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	kept := &bucket{all: map[string][]byte{"rate_limit:user:alice": []byte("7/minute"), "rate_limit:user:alice:light": []byte("3/minute")}}
	b, err := NewBook(Config{Source: KV{kept}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b.walk(&walks{})
	for _, load := range []int{-10, 0, 10} {
		alice := &identity.Identity{UserKey: "user:alice", ID: "alice"}
		d, _ := rules.Decide(alice, &policy.Query{Endpoint: openai.Chat, Sequences: 1, MaxTokens: 1, Load: load})
		b.Apply(alice, d)
		if len(d.Buckets) != 2 || d.Buckets[0].Text != "7/minute" || d.Buckets[1].Text != "3/minute" {
			t.Fatalf("%+v", d.Buckets)
		}
		for _, one := range d.Buckets {
			if one.Written != nil || one.Factor != 0 {
				t.Errorf("at %d the override is told as %v times %v", load, one.Factor, one.Written)
			}
		}
	}
	s := Service{
		Book: b, Logger: slog.New(slog.DiscardHandler),
		Decide: func(id *identity.Identity, q *policy.Query) *policy.Decision {
			asked := *q
			asked.Load = 10
			d, _ := rules.Decide(id, &asked)
			return d
		},
		Look: func(_ context.Context, d *policy.Decision) [][]limit.Level {
			out := make([][]limit.Level, len(d.Buckets))
			for i, b := range d.Buckets {
				out[i] = make([]limit.Level, len(b.Limits))
			}
			return out
		},
	}
	q, err := s.Show(t.Context(), "bob")
	if err != nil || len(q.Buckets) != 2 {
		t.Fatal(err, q)
	}
	if b := q.Buckets[0]; b.Limits != "10/minute" || b.Written != "20/minute" || b.Factor != 0.5 || b.Levels[0].Limit != "10/minute" || b.From != "policy[0]" {
		t.Errorf("%+v", b)
	}
	if b := q.Buckets[1]; b.Of != "light" || b.Limits != "4/minute" || b.Written != "8/minute" {
		t.Errorf("%+v", b)
	}
	if q, err = s.Show(t.Context(), "alice"); err != nil || q.Buckets[0].Limits != "7/minute" || q.Buckets[0].Written != "" || q.Buckets[0].Factor != 0 {
		t.Error(err, q)
	}
}
