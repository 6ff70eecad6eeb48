package config

import (
	"testing"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
)

// TestTheArticlesSettingIsWhatItSays reads the example and asks it as people would.
func TestTheArticlesSettingIsWhatItSays(t *testing.T) {
	cfg, err := Load("../../../deploy/examples/article.yaml", func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Warnings) > 0 {
		t.Errorf("it warns: %v", cfg.Warnings)
	}
	p, err := policy.New(cfg.Policy)
	if err != nil {
		t.Fatal(err)
	}
	ann := func(task string) *identity.Identity {
		return &identity.Identity{UserKey: "user:ann", ID: "ann", Task: task, Forwarder: true, AuthType: identity.AuthForwarded}
	}
	chat := func(chars, tokens, expected int) policy.Query {
		return policy.Query{Endpoint: openai.Chat, Pool: "main", InputChars: chars, MaxTokens: tokens, ExpectedTokens: expected, Sequences: 1}
	}
	for name, tt := range map[string]struct {
		task   string
		q      policy.Query
		size   string
		limits []string // of requests, then of the size
	}{
		"a question":               {"", chat(2000, 1024, 300), policy.SizeLight, []string{"100/minute", "60/minute"}},
		"a page":                   {"", chat(2001, 0, 300), policy.SizeMedium, []string{"100/minute", "15/minute"}},
		"a long answer":            {"", chat(10, 1025, 300), policy.SizeMedium, []string{"100/minute", "15/minute"}},
		"answers are usually long": {"", chat(10, 0, 9000), policy.SizeHeavy, []string{"100/minute", "3/minute"}},
		"5,000 characters":         {"", chat(5000, 0, 300), policy.SizeMedium, []string{"100/minute", "15/minute"}},
		"5,001 characters":         {"", chat(5001, 0, 300), policy.SizeHeavy, []string{"100/minute", "3/minute"}},
		"8,192 tokens":             {"", chat(10, 8192, 300), policy.SizeHeavy, []string{"100/minute", "3/minute"}},
		"a title of a long chat":   {"title_generation", chat(90_000, 0, 300), "", []string{"120/minute"}},
		"a search before it":       {"query_generation", chat(90_000, 0, 300), "", []string{"100/minute"}},
		"a part of an upload":      {"", policy.Query{Endpoint: openai.Embeddings, Pool: "main", InputChars: 90_000, Sequences: 1}, "", []string{"600/minute burst 6000"}},
		"to count tokens":          {"", policy.Query{Endpoint: openai.Tokenize, Pool: "main", Sequences: 1, Passed: true}, "", []string{"600/minute"}},
	} {
		d, problem := p.Decide(ann(tt.task), &tt.q)
		if problem != nil {
			t.Fatal(name, problem)
		}
		var limits []string
		for _, b := range d.Buckets {
			limits = append(limits, b.Text)
		}
		check(t, name+": size", tt.size, d.Size)
		check(t, name+": limits", tt.limits, limits)
	}
	// Without X-Task the three tasks of a long chat draw from three at once that are theirs.
	question, title := chat(9000, 0, 300), chat(9000, 1000, 300)
	title.TaskPrompt = "### Task:\nGenerate a concise title summarizing the chat history.\n### Guidelines:"
	asked, _ := p.Decide(ann(""), &question)
	guessed, _ := p.Decide(ann(""), &title)
	check(t, "a title by its prompt: class", "background", guessed.Class)
	check(t, "its limits", []string{"120/minute", "3/minute"}, []string{guessed.Buckets[0].Text, guessed.Buckets[1].Text})
	if asked.Buckets[1].Key() == guessed.Buckets[1].Key() {
		t.Error("the tasks of a chat take from its questions")
	}
	d, _ := p.Decide(&identity.Identity{UserKey: "ip:192.0.2.1", Anonymous: true, AuthType: identity.AuthAnonymous}, new(chat(10, 0, 300)))
	check(t, "the class of a scan", "background", d.Class)
	check(t, "its limits", "100/minute", d.Buckets[0].Text)
}
