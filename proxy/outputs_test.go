package proxy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// TestOutputsComeToRestAtTheMeanAndTheNinthTenth lets a user have answers of 1 to
// 2,000 tokens, each as likely.
func TestOutputsComeToRestAtTheMeanAndTheNinthTenth(t *testing.T) {
	o, rng := newOutputs(), rand.New(rand.NewPCG(1, 2))
	var means, highs []float64
	for i := range 6000 {
		o.learn(ann, 2, scheduler.Usage{Known: true, Output: 2 * (1 + rng.IntN(2000))})
		if e := o.of(ann); i > 1000 {
			means, highs = append(means, e.mean), append(highs, e.high)
		}
	}
	slices.Sort(means)
	slices.Sort(highs)
	if m, h := means[len(means)/2], highs[len(highs)/2]; m < 900 || m > 1100 || h < 1600 || h > 2000 {
		t.Errorf("mean %.0f, nine in ten below %.0f", m, h)
	}
	if e := o.of("user:bob"); e.mean != firstMean || e.high != firstHigh {
		t.Errorf("of bob, who never asked, is expected %+v", e)
	}
}

func TestOutputsAreBounded(t *testing.T) {
	o := newOutputs()
	for i := range 5 * mostOutputs {
		o.learn(fmt.Sprint("user:", i), 1, scheduler.Usage{Known: true, Output: 5})
		o.learn(ann, 1, scheduler.Usage{Known: true, Output: 50})
	}
	if n := len(o.now) + len(o.old); n > 2*mostOutputs {
		t.Errorf("%d users are remembered", n)
	}
	if e := o.of(ann); e.mean > 51 || e.high > 51 {
		t.Errorf("who asks all the time is forgotten: %+v", e)
	}
}

func TestReserve(t *testing.T) {
	e := output{mean: 100, high: 800}
	for _, tt := range []struct {
		r    openai.Request
		want int
	}{
		{openai.Request{Endpoint: openai.Chat, Sequences: 1}, 800},
		{openai.Request{Endpoint: openai.Chat, Sequences: 3, MaxTokens: 100}, 300},
		{openai.Request{Endpoint: openai.Chat, Sequences: 1, MaxTokens: 9000}, 800},
		{openai.Request{Endpoint: openai.Embeddings, Sequences: 1}, 0},
	} {
		if got := e.reserve(&tt.r); got != tt.want {
			t.Errorf("%+v reserves %d, want %d", tt.r, got, tt.want)
		}
	}
}

// TestWhatIsExpectedOfAUserIsLearned has ann answered with long answers: her next
// request without max_tokens counts as one.
func TestWhatIsExpectedOfAUserIsLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		var asked policy.Query
		var need Need
		f.decide = func(_ *identity.Identity, q *policy.Query) (*policy.Decision, *scheduler.Problem) {
			asked = *q
			return &policy.Decision{Class: "standard", MaxSequences: 4, MaxWait: 60e9}, nil
		}
		f.take = func(_ *policy.Decision, n Need) (Allowance, *scheduler.Problem) { need = n; return Allowance{}, nil }
		whole := end(scheduler.Completed)
		whole.End.Usage = scheduler.Usage{Known: true, Input: 10, Output: 4000}
		f.answers(granted(), head(200, "application/json"), data("{}"), whole)
		s := f.server(t, Config{})
		ask(s, "POST", chatPath, chatBody)
		if first := int(firstMean); asked.ExpectedTokens != first || need.MaxTokens != int(firstHigh) || need.Longest != 4096 {
			t.Fatalf("at first are expected %d tokens, and needed %+v", asked.ExpectedTokens, need)
		}
		for range 30 {
			ask(s, "POST", chatPath, chatBody)
		}
		if asked.ExpectedTokens < 3500 || need.MaxTokens < 3500 {
			t.Errorf("in the end are expected %d tokens, and needed %+v", asked.ExpectedTokens, need)
		}
	})
}
