package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
)

// TestWhatIsNoQuestionHasBucketsOfItsOwn: a person's limit is of questions, whatever
// the list of rules is, and only a rule that says what it is says otherwise.
func TestWhatIsNoQuestionHasBucketsOfItsOwn(t *testing.T) {
	count := func() *Query { q := chat(); q.Endpoint, q.Passed = openai.CountTokens, true; return q }
	upload := func() *Query { q := chat(); q.Endpoint = openai.Embeddings; return q }
	does := func(task string) *identity.Identity { id := anna(); id.Task = task; return id }
	const (
		counting = "requests/endpoint=count_tokens,detokenize,response,response_cancel,tokenize"
		parts    = "requests/endpoint=embeddings,rerank,score"
		chores   = "requests/task=#05efd41711a0c10a" // of the five
		typed    = "requests/task=autocomplete_generation"
	)
	questions := []Rule{{When: When{Group: []string{"R&D"}}, Limits: minutely(2), MaxQueued: new(5)}, {Limits: minutely(3)}}
	endpoint := func(e openai.Endpoint) []Rule {
		return []Rule{{Name: "mine", When: When{Endpoint: []string{string(e)}}, Limits: minutely(2), MaxQueued: new(7)}}
	}
	task := []Rule{{Name: "mine", When: When{Task: []string{TaskTitle}}, Limits: minutely(2)}}
	tests := []struct {
		name   string
		id     *identity.Identity
		q      *Query
		rules  []Rule
		bucket string
		text   string
		queued int
	}{
		{"counting, no rule", anna(), count(), nil, counting, "600/minute", 64},
		{"counting, rules of questions", anna(), count(), questions, counting, "600/minute", 5},
		{"counting, a rule of another endpoint", anna(), count(), endpoint(openai.Tokenize), counting, "600/minute", 64},
		{"counting, its own rule", anna(), count(), endpoint(openai.CountTokens), "requests/mine", "n/minute", 7},
		{"an upload, no rule", anna(), upload(), nil, parts, "600/minute burst 6000", 6000},
		{"an upload, rules of questions", anna(), upload(), questions, parts, "600/minute burst 6000", 6000},
		{"an upload, its own rule", anna(), upload(), endpoint(openai.Embeddings), "requests/mine", "n/minute", 7},
		{"a title, no rule", does(TaskTitle), chat(), nil, chores, "120/minute", 64},
		{"a title, rules of questions", does(TaskTitle), chat(), questions, chores, "120/minute", 5},
		{"a title, a rule of its endpoint", does(TaskTitle), chat(), endpoint(openai.Chat), chores, "120/minute", 7},
		{"a title, its own rule", does(TaskTitle), chat(), task, "requests/mine", "n/minute", 64},
		{"tags, a rule of titles", does(TaskTags), chat(), task, chores, "120/minute", 64},
		{"typing, rules of questions", does(TaskAutocomplete), chat(), questions, typed, "120/minute", 5},
		{"a search before the answer", does(TaskQuery), chat(), questions, "requests/group=R&D", "n/minute", 5},
		{"a question", anna(), chat(), questions, "requests/group=R&D", "n/minute", 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(t, mustNew(t, withRules(tt.rules...)), tt.id, tt.q)
			if diff := cmp.Diff([]string{tt.bucket + "|user:anna@example.com"}, keys(d)); diff != "" {
				t.Fatal(diff)
			}
			if got := d.Buckets[0].Text; got != tt.text || d.MaxQueued != tt.queued {
				t.Errorf("%s and %d in the queue, want %s and %d", got, d.MaxQueued, tt.text, tt.queued)
			}
			if isQuestion := d.aside == question && d.Task == ""; (d.Size != "") != isQuestion {
				t.Errorf("it is %s", d.Size)
			}
		})
	}
}

// TestTheRestOfARuleHoldsForAll: class and the like are not of questions alone, and
// tokens are tokens.
func TestTheRestOfARuleHoldsForAll(t *testing.T) {
	p := mustNew(t, withRules(Rule{When: When{Group: []string{"R&D"}}, Class: new("vip"), Limits: minutely(2), Tokens: minutely(9), MaxRunning: new(3)}))
	for endpoint, want := range map[openai.Endpoint]int{openai.CountTokens: 1, openai.Embeddings: 2} {
		q := chat()
		q.Endpoint, q.Passed = endpoint, endpoint == openai.CountTokens
		if d := decide(t, p, anna(), q); d.Class != "vip" || d.MaxRunning != 3 || len(d.Buckets) != want {
			t.Errorf("%s: %s, %d running, buckets %v", endpoint, d.Class, d.MaxRunning, keys(d))
		}
	}
}

// TestWhySaysWhatIsBuiltIn of what is no question.
func TestWhySaysWhatIsBuiltIn(t *testing.T) {
	q := chat()
	q.Endpoint = openai.Embeddings
	from := map[string]string{}
	for _, why := range decide(t, mustNew(t, withRules(Rule{Limits: minutely(2)})), anna(), q).Why() {
		from[why.Key] = why.From
	}
	const builtIn = "built-in rule endpoint=embeddings,rerank,score"
	if from["limits"] != builtIn || from["max_queued"] != builtIn || from["max_running"] != "built-in rule" {
		t.Error(from)
	}
}
