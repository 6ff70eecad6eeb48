package proxy

import (
	"strings"
	"testing"
	"testing/synctest"

	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// TestSizesAreNotEvaded by what becomes text at the backend, or by a least length.
func TestSizesAreNotEvaded(t *testing.T) {
	f := newFakes()
	var asked policy.Query
	var need Need
	f.decide = func(_ *identity.Identity, q *policy.Query) (*policy.Decision, *scheduler.Problem) {
		asked = *q
		return &policy.Decision{Class: "standard", MaxSequences: 4, MaxWait: 60e9}, nil
	}
	f.take = func(_ *policy.Decision, n Need) (Allowance, *scheduler.Problem) { need = n; return Allowance{}, nil }
	whole := end(scheduler.Completed)
	whole.End.Usage = scheduler.Usage{}
	f.answers(granted(), head(200, "application/json"), data("{}"), whole)
	s := f.server(t, Config{})
	ids := `{"model":"gpt","prompt":[` + strings.Repeat("7,", 5999) + `7]}`
	if ask(s, "POST", "/v1/completions", ids); asked.InputChars != 6000*firstBytesPerToken || need.InputTokens != 6000 {
		t.Errorf("6,000 token ids are %d characters, and need %+v", asked.InputChars, need)
	}
	s.estimates.ratio["org/m"] = 0.5
	if ask(s, "POST", "/v1/completions", ids); asked.InputChars != 6000 {
		t.Errorf("6,000 token ids are %d characters", asked.InputChars)
	}
	if ask(s, "POST", chatPath, strings.Replace(chatBody, `"gpt"`, `"gpt","min_tokens":9000,"n":2`, 1)); asked.ExpectedTokens != 9000 || asked.MaxTokens != 0 || need.MaxTokens != 18_000 {
		t.Errorf("of at least 9,000 tokens are expected %d, and needed %+v", asked.ExpectedTokens, need)
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
		if first := int(policy.NewOutputs().Of(ann).Mean); asked.ExpectedTokens != first || need.MaxTokens != int(policy.NewOutputs().Of(ann).High) || need.Longest != 4096 {
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
