package policy

import (
	"time"

	"fairlane/proxy/limit"
	"fairlane/proxy/openai"
)

// aside is what a request is if it is no question of its person: its limits are
// those of rules that say what it is.
type aside int

const (
	question aside = iota
	passing        // it needs no GPU and goes past the queue
	part           // of a document that is uploaded, or looked through
	chore          // of Open WebUI, beside the answer
	typing         // of somebody to whom Open WebUI proposes the rest
	numAsides
)

// asides are the built-in rules of what is no question, for whatever no rule says
// what it is. Open WebUI sends a document in as many requests as it has pieces of a
// thousand characters, all at once, and gives up if one of them is refused.
func asides() [numAsides]Rule {
	const atOnce = 6000
	return [numAsides]Rule{
		passing: {
			When:   When{Endpoint: []string{"tokenize", "detokenize", "count_tokens", "response", "response_cancel"}},
			Limits: perMinute("600/minute", 600),
		},
		part: {
			When:      When{Endpoint: []string{"embeddings", "rerank", "score"}},
			Limits:    &Limits{Text: "600/minute burst 6000", Set: []limit.Limit{{N: 600, Period: time.Minute, Burst: atOnce}}},
			MaxQueued: new(atOnce),
		},
		chore: {
			When:   When{Task: []string{TaskTitle, TaskTags, TaskFollowUp, TaskEmoji, TaskMemory}},
			Limits: perMinute("120/minute", 120),
		},
		typing: {When: When{Task: []string{TaskAutocomplete}}, Limits: perMinute("120/minute", 120)},
	}
}

// aside says what a request is.
func (s *subject) aside() aside {
	switch {
	case s.q.Passed:
		return passing
	case s.q.Endpoint == openai.Embeddings, s.q.Endpoint == openai.Rerank, s.q.Endpoint == openai.Score:
		return part
	}
	switch s.task {
	case TaskTitle, TaskTags, TaskFollowUp, TaskEmoji, TaskMemory:
		return chore
	case TaskAutocomplete:
		return typing
	default:
		return question
	}
}

// String names it, as a part of a scope.
func (a aside) String() string {
	return [...]string{question: "", passing: "passing", part: "part", chore: "chore", typing: "typing"}[a]
}

// Aside says what the request is if it is no question of its person, and so draws from
// buckets that are none of theirs; empty: it is a question.
func (d *Decision) Aside() string { return d.aside.String() }

// keys are those that only rules have for it that say what it is, as a mask.
func (a aside) keys() uint16 {
	switch a {
	case question:
		return 0
	case part:
		return 1<<keyLimits | 1<<keyMaxQueued
	default:
		return 1 << keyLimits
	}
}

// says reports whether the rule says what it is.
func (r *rule) says(a aside) bool {
	switch a {
	case question:
		return true
	case chore, typing:
		return r.namesTask
	default:
		return r.namesEndpoint
	}
}
