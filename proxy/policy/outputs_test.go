package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

const annsKey = "user:ann"

// TestOutputsComeToRestAtTheMeanAndTheNinthTenth lets a user have answers of 1 to
// 2,000 tokens, each as likely.
func TestOutputsComeToRestAtTheMeanAndTheNinthTenth(t *testing.T) {
	o, rng := NewOutputs(), rand.New(rand.NewPCG(1, 2))
	var means, highs []float64
	for i := range 6000 {
		o.Learn(annsKey, 2, scheduler.Usage{Known: true, Output: 2 * (1 + rng.IntN(2000))})
		if e := o.Of(annsKey); i > 1000 {
			means, highs = append(means, e.Mean), append(highs, e.High)
		}
	}
	slices.Sort(means)
	slices.Sort(highs)
	if m, h := means[len(means)/2], highs[len(highs)/2]; m < 900 || m > 1100 || h < 1600 || h > 2000 {
		t.Errorf("mean %.0f, nine in ten below %.0f", m, h)
	}
	if e := o.Of("user:bob"); e.Mean != firstMean || e.High != firstHigh {
		t.Errorf("of bob, who never asked, is expected %+v", e)
	}
}

func TestOutputsAreBounded(t *testing.T) {
	o := NewOutputs()
	for i := range 5 * mostOutputs {
		o.Learn(fmt.Sprint("user:", i), 1, scheduler.Usage{Known: true, Output: 5})
		o.Learn(annsKey, 1, scheduler.Usage{Known: true, Output: 50})
	}
	if n := len(o.now) + len(o.old); n > 2*mostOutputs {
		t.Errorf("%d users are remembered", n)
	}
	if e := o.Of(annsKey); e.Mean > 51 || e.High > 51 {
		t.Errorf("who asks all the time is forgotten: %+v", e)
	}
}

func TestReserve(t *testing.T) {
	e := Output{Mean: 100, High: 800}
	for _, tt := range []struct {
		endpoint             openai.Endpoint
		maxTokens, sequences int
		want                 int
	}{
		{openai.Chat, 0, 1, 800},
		{openai.Chat, 100, 3, 300},
		{openai.Chat, 9000, 1, 800},
		{openai.Embeddings, 0, 1, 0},
	} {
		if got := e.Reserve(tt.endpoint, tt.maxTokens, tt.sequences); got != tt.want {
			t.Errorf("%+v reserves %d", tt, got)
		}
	}
}
