package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/openai"
)

// TestPassedCallsHaveBucketsOfTheirOwn asks for tokens to be counted: a person's
// limit is of questions, and only a rule that names the endpoint says otherwise.
func TestPassedCallsHaveBucketsOfTheirOwn(t *testing.T) {
	count := func() *Query { q := chat(); q.Endpoint, q.Passed = openai.CountTokens, true; return q }
	builtIn := "requests/endpoint=count_tokens,detokenize,response,response_cancel,tokenize|user:anna@example.com"
	tests := []struct {
		name  string
		rules []Rule
		want  []string
		text  string
	}{
		{"no rule", nil, []string{builtIn}, "600/minute"},
		{"rules of questions", []Rule{{When: When{Group: []string{"R&D"}}, Limits: minutely(2), Tokens: minutely(9)}, {Limits: minutely(3)}}, []string{builtIn}, "600/minute"},
		{
			"a rule of another endpoint",
			[]Rule{{When: When{Endpoint: []string{"tokenize"}}, Limits: minutely(2)}},
			[]string{builtIn},
			"600/minute",
		},
		{
			"its own rule",
			[]Rule{{Name: "counting", When: When{Endpoint: []string{"count_tokens"}}, Limits: minutely(2)}},
			[]string{"requests/counting|user:anna@example.com"},
			"n/minute",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(t, mustNew(t, withRules(tt.rules...)), anna(), count())
			if diff := cmp.Diff(tt.want, keys(d)); diff != "" {
				t.Fatal(diff)
			}
			if got := d.Buckets[0].Text; got != tt.text {
				t.Errorf("the limits are %s", got)
			}
			if d.Size != "" {
				t.Errorf("it is %s", d.Size)
			}
		})
	}
	d := decide(t, mustNew(t, withRules(Rule{When: When{Group: []string{"R&D"}}, Class: new("vip"), Limits: minutely(2)})), anna(), count())
	if d.Class != "vip" {
		t.Errorf("the class is %s", d.Class)
	}
}
