package quota

import (
	"testing"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
)

// TestAnOverrideIsOfQuestions: of all that draws from a person's own bucket, and of
// what has another one only to slow it down.
func TestAnOverrideIsOfQuestions(t *testing.T) {
	t.Parallel()
	cfg := policy.Defaults()
	cfg.Rules = append(cfg.Rules, policy.Rule{Limits: &policy.Limits{Text: "100/minute", Set: limits(t, "100/minute")}})
	rules, err := policy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	none := policy.Defaults()
	none.Rules = []policy.Rule{{Limits: &policy.Limits{}}, {When: policy.When{Endpoint: []string{"embeddings"}}, Limits: &policy.Limits{}}}
	free, err := policy.New(none)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(rules *policy.Policy, override string, task string, on openai.Endpoint) policy.Bucket {
		alice := &identity.Identity{UserKey: "user:alice", ID: "alice", Task: task}
		d, _ := rules.Decide(alice, &policy.Query{Endpoint: on, Sequences: 1, MaxTokens: 1})
		with(t, map[string]string{"user:alice": override}).Apply(alice, d)
		return d.Buckets[0]
	}
	chat := openai.Chat
	for name, tt := range map[string]struct {
		task       string
		on         openai.Endpoint
		many, some string // what holds of 500/minute, and of 50/minute
	}{
		"a question":              {"", chat, "500/minute", "50/minute"},
		"what it is looked up by": {"query_generation", chat, "500/minute", "50/minute"},
		"the choice of a tool":    {"function_calling", chat, "500/minute", "50/minute"},
		"a transcription":         {"", openai.Transcriptions, "500/minute", "50/minute"},
		"a title":                 {policy.TaskTitle, chat, "120/minute", "50/minute burst 120"},
		"a piece of a document":   {"", openai.Embeddings, "500/minute burst 6000", "50/minute burst 6000"},
	} {
		for override, want := range map[string]string{"500/minute": tt.many, "50/minute": tt.some} {
			if got := ask(rules, override, tt.task, tt.on).Text; got != want {
				t.Errorf("%s: of %s holds %s, want %s", name, override, got, want)
			}
		}
	}
	if a, b := ask(free, "50/minute", "", chat), ask(free, "50/minute", "function_calling", chat); a.Scope != b.Scope {
		t.Errorf("questions are in %q and %q", a.Scope, b.Scope)
	}
	if a, b := ask(free, "50/minute", "", chat), ask(free, "50/minute", "", openai.Embeddings); a.Scope == b.Scope {
		t.Errorf("questions and documents are in %q", a.Scope)
	}
}
