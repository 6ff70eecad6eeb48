package policy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

func lim(text string, n int64) *Limits {
	return &Limits{Text: text, Set: []limit.Limit{{N: n, Period: time.Minute, Burst: n}}}
}

func minutely(n int64) *Limits { return lim("n/minute", n) }

func mustNew(tb testing.TB, cfg Config) *Policy {
	tb.Helper()
	p, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// withRules are the defaults with a list of rules that replaces the default one.
func withRules(rules ...Rule) Config {
	cfg := Defaults()
	cfg.Rules = rules
	return cfg
}

func anna() *identity.Identity {
	return &identity.Identity{
		UserKey: "user:anna@example.com", ID: "u-1", Email: "anna@example.com", Roles: []string{"user"}, Groups: []string{"R&D", "vip, gold"},
		KeyID: "openwebui", AuthType: identity.AuthJWT, Verified: true, Forwarder: true, Addr: netip.MustParseAddr("10.1.2.3"),
	}
}

func chat() *Query {
	return &Query{Endpoint: openai.Chat, Pool: "main", Model: "qwen", Alias: "gpt-4", Sequences: 1}
}

func decide(tb testing.TB, p *Policy, id *identity.Identity, q *Query) *Decision {
	tb.Helper()
	d, problem := p.Decide(id, q)
	if problem != nil {
		tb.Fatal(problem)
	}
	return d
}

func TestDefaults(t *testing.T) {
	p := mustNew(t, Defaults())
	task := func(name string) *identity.Identity { id := anna(); id.Task = name; return id }
	endpoint := func(e openai.Endpoint) *Query { q := chat(); q.Endpoint = e; return q }
	anonymous := &identity.Identity{UserKey: "ip:10.0.0.1", Anonymous: true}
	tests := []struct {
		name   string
		id     *identity.Identity
		q      *Query
		class  string
		limits string
		wait   time.Duration
	}{
		{"a person", anna(), chat(), "standard", "100/minute", 2 * time.Minute},
		{"anonymous", anonymous, chat(), "background", "100/minute", 10 * time.Minute},
		{"title", task("title_generation"), chat(), "background", "120/minute", 10 * time.Minute},
		{"tags", task("tags_generation"), chat(), "background", "120/minute", 10 * time.Minute},
		{"follow-ups", task("follow_up_generation"), chat(), "background", "120/minute", 10 * time.Minute},
		{"emoji", task("emoji_generation"), chat(), "background", "120/minute", 10 * time.Minute},
		{"memory", task("memory_review"), chat(), "background", "120/minute", 10 * time.Minute},
		{"autocomplete does not wait long", task("autocomplete_generation"), chat(), "background", "120/minute", 2 * time.Second},
		{"a query runs before the answer", task("query_generation"), chat(), "standard", "100/minute", 2 * time.Minute},
		{"function calling, too", task("function_calling"), chat(), "standard", "100/minute", 2 * time.Minute},
		{"embeddings", anna(), endpoint(openai.Embeddings), "background", "600/minute burst 6000", 10 * time.Minute},
		{"rerank", anna(), endpoint(openai.Rerank), "background", "600/minute burst 6000", 10 * time.Minute},
		{"score", anna(), endpoint(openai.Score), "background", "600/minute burst 6000", 10 * time.Minute},
		{"completions", anna(), endpoint(openai.Completions), "standard", "100/minute", 2 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(t, p, tt.id, tt.q)
			if d.Class != tt.class || d.limitsOf(Requests) != tt.limits || d.MaxWait != tt.wait {
				t.Errorf("%s %q %v, want %s %q %v", d.Class, d.limitsOf(Requests), d.MaxWait, tt.class, tt.limits, tt.wait)
			}
		})
	}
	d := decide(t, p, anna(), chat())
	if d.MaxRunning != 8 || d.MaxQueued != 64 || d.MaxSequences != 4 || d.UserWeight != 1 || d.MaySetPriority || d.OwnCache || d.limitsOf(Tokens) != "" || len(d.AllowFields) != 0 {
		t.Errorf("the built-in last rule gives %+v", d)
	}
}

func TestEachKeyComesFromTheFirstRuleThatSetsIt(t *testing.T) {
	everybody := When{}
	p := mustNew(t, withRules(
		Rule{When: When{Role: []string{"boss"}}, Class: new("vip"), Weight: new(9.0)},
		Rule{When: When{Group: []string{"R&D"}}, Weight: new(2.0), Limits: minutely(7)},
		Rule{When: everybody, Weight: new(5.0), Class: new("background"), MaxRunning: new(3), MaxQueued: new(5), MaxSequences: new(2), PrefixCache: new("own")},
		Rule{When: everybody, MaxRunning: new(99), AllowFields: []string{"cache_salt"}, MaySetPriority: new(true), MaxWait: new(time.Minute)},
	))
	q := chat()
	q.Priority = -3
	d := decide(t, p, anna(), q)
	want := &Decision{
		Class: "background", ClassWeight: 1, EngineRank: 2, UserWeight: 2, MaxRunning: 3, MaxQueued: 5, MaxSequences: 2, MaxWait: time.Minute,
		Priority: -3, MaySetPriority: true, AllowFields: []string{"cache_salt"}, OwnCache: true, Size: SizeLight,
		Buckets: []Bucket{{Kind: Requests, Scope: "requests/group=R&D", Owner: "user:anna@example.com", Limits: minutely(7).Set, Text: "n/minute"}},
	}
	if diff := cmp.Diff(want, d, cmp.FilterPath(func(p cmp.Path) bool {
		name := p.Last().String()
		return name == ".policy" || name == ".from" || name == ".store" || name == ".nobody" || name == ".guessed" || name == ".aside"
	}, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
}

func TestAskedPriorityNeedsPermission(t *testing.T) {
	q := chat()
	q.Priority = -3
	if d := decide(t, mustNew(t, Defaults()), anna(), q); d.Priority != 0 {
		t.Errorf("priority %d without permission", d.Priority)
	}
}

func TestLimitsSetToNoneAreSet(t *testing.T) {
	p := mustNew(t, withRules(Rule{When: When{Role: []string{"user"}}, Limits: &Limits{}}))
	if d := decide(t, p, anna(), chat()); len(d.Buckets) != 0 {
		t.Errorf("limits: \"\" of an upper rule did not win over the built-in ones: %v", d.Buckets)
	}
}

func TestWhen(t *testing.T) {
	scripted := func() *identity.Identity { id := anna(); id.AuthType = identity.AuthAPIKey; return id }
	tests := []struct {
		name string
		when When
		id   *identity.Identity
		want bool
	}{
		{"user by id", When{User: []string{"u-1"}}, anna(), true},
		{"user by email", When{User: []string{"anna@example.com"}}, anna(), true},
		{"user by email in capitals", When{User: []string{"Anna@Example.com"}}, anna(), true},
		{"another user", When{User: []string{"u-2"}}, anna(), false},
		{"email in capitals", When{Email: []string{"ANNA@example.com"}}, anna(), true},
		{"another email", When{Email: []string{"bob@example.com"}}, anna(), false},
		{"key", When{Key: []string{"openwebui"}}, anna(), true},
		{"another key", When{Key: []string{"ci"}}, anna(), false},
		{"role", When{Role: []string{"admin", "user"}}, anna(), true},
		{"another role", When{Role: []string{"admin"}}, anna(), false},
		{"group", When{Group: []string{"R&D"}}, anna(), true},
		{"a group with a comma in its name", When{Group: []string{"vip, gold"}}, anna(), true},
		{"part of a group's name", When{Group: []string{"R"}}, anna(), false},
		{"model", When{Model: []string{"qwen"}}, anna(), true},
		{"model by its alias", When{Model: []string{"gpt-4"}}, anna(), true},
		{"another model", When{Model: []string{"llama"}}, anna(), false},
		{"endpoint", When{Endpoint: []string{"chat"}}, anna(), true},
		{"another endpoint", When{Endpoint: []string{"embeddings"}}, anna(), false},
		{"no task", When{Task: []string{"title_generation"}}, anna(), false},
		{"a person's browser", When{AuthType: []string{"jwt"}}, anna(), true},
		{"no script", When{AuthType: []string{"api_key"}}, anna(), false},
		{"a script", When{AuthType: []string{"api_key"}}, scripted(), true},
		{"network", When{IP: []string{"192.168.0.0/16", "10.0.0.0/8"}}, anna(), true},
		{"address", When{IP: []string{"10.1.2.3"}}, anna(), true},
		{"another address", When{IP: []string{"10.1.2.4"}}, anna(), false},
		{"anonymous", When{Anonymous: new(true)}, anna(), false},
		{"not anonymous", When{Anonymous: new(false)}, anna(), true},
		{"all must hold", When{User: []string{"u-1"}, Role: []string{"admin"}}, anna(), false},
		{"all hold", When{User: []string{"u-1"}, Role: []string{"user"}, IP: []string{"10.0.0.0/8"}}, anna(), true},
		{"one of many", When{User: []string{"a", "b", "c", "d", "e", "u-1"}}, anna(), true},
		{"none of many", When{User: []string{"a", "b", "c", "d", "e", "f"}}, anna(), false},
		{"no condition", When{}, anna(), true},
		{"what is not known matches nothing", When{User: []string{"u-1"}}, &identity.Identity{UserKey: "ip:10.0.0.1", Anonymous: true}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustNew(t, withRules(Rule{When: tt.when, Class: new("vip")}))
			if got := decide(t, p, tt.id, chat()).Class == "vip"; got != tt.want {
				t.Errorf("matches: %v, want %v", got, tt.want)
			}
		})
	}
}

func keys(d *Decision) []string {
	var out []string
	for i := range d.Buckets {
		out = append(out, d.Buckets[i].Key())
	}
	return out
}

func TestBuckets(t *testing.T) {
	bob := func() *identity.Identity { id := anna(); id.UserKey = "user:bob@example.com"; return id }
	titled := func() *identity.Identity { id := anna(); id.Task = TaskTitle; return id }
	query := func() *identity.Identity { id := anna(); id.Task = TaskQuery; return id }
	titles := Rule{When: When{Task: []string{TaskTitle}}, Limits: minutely(1)}
	group := When{Group: []string{"R&D"}}
	tests := []struct {
		name string
		rule []Rule
		id   *identity.Identity
		want []string
	}{
		{"the built-in rule", nil, anna(), []string{"requests/*|user:anna@example.com"}},
		{"a rule without when is the same bucket", []Rule{{Limits: minutely(1)}}, anna(), []string{"requests/*|user:anna@example.com"}},
		{"by when", []Rule{{When: group, Limits: minutely(1)}}, anna(), []string{"requests/group=R&D|user:anna@example.com"}},
		{"per member", []Rule{{When: group, Limits: minutely(1)}}, bob(), []string{"requests/group=R&D|user:bob@example.com"}},
		{"by name", []Rule{{Name: "lab", When: group, Limits: minutely(1)}}, anna(), []string{"requests/lab|user:anna@example.com"}},
		{"shared", []Rule{{Name: "lab", When: group, Limits: minutely(1), Tokens: minutely(1), Shared: true}}, anna(), []string{"requests/lab|shared", "tokens/lab|shared"}},
		{"a task's own", []Rule{titles}, titled(), []string{"requests/task=title_generation|user:anna@example.com"}},
		{"a task that no rule names has the person's", []Rule{titles}, query(), []string{"requests/*|user:anna@example.com"}},
		{"requests and tokens of different rules", []Rule{{When: group, Tokens: minutely(1)}}, anna(), []string{"requests/*|user:anna@example.com", "tokens/group=R&D|user:anna@example.com"}},
		{"the order in a list does not matter", []Rule{{When: When{Group: []string{"b", "R&D", "b"}}, Limits: minutely(1)}}, anna(), []string{"requests/group=R&D,b|user:anna@example.com"}},
		{
			"a rule's own sizes",
			[]Rule{{Name: "lab", When: group, Sizes: &Sizes{Light: Size{Limits: minutely(2)}}}},
			anna(),
			[]string{"requests/*|user:anna@example.com", "size/light/lab|user:anna@example.com"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := mustNew(t, withRules(tt.rule...))
			if diff := cmp.Diff(tt.want, keys(decide(t, p, tt.id, chat()))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLongWhenHasAShortLabel(t *testing.T) {
	many := make([]string, 100)
	for i := range many {
		many[i] = strings.Repeat("x", i+1)
	}
	many = append(many, "u-1")
	one := keys(decide(t, mustNew(t, withRules(Rule{When: When{User: many}, Limits: minutely(1)})), anna(), chat()))[0]
	other := keys(decide(t, mustNew(t, withRules(Rule{When: When{User: many[1:]}, Limits: minutely(1)})), anna(), chat()))[0]
	if len(one) > 80 || one == other || !strings.HasPrefix(one, "requests/user=#") {
		t.Errorf("%s and %s", one, other)
	}
}

func TestReloadFindsTheOldBuckets(t *testing.T) {
	rules := func(n int64) Config {
		cfg := withRules(Rule{When: When{Group: []string{"R&D"}}, Limits: minutely(n)})
		cfg.Sizes.Light.Limits = minutely(n)
		return cfg
	}
	before, after := decide(t, mustNew(t, rules(5)), anna(), chat()), decide(t, mustNew(t, rules(50)), anna(), chat())
	if diff := cmp.Diff(keys(before), keys(after)); diff != "" {
		t.Error(diff)
	}
}

func TestSizes(t *testing.T) {
	cfg := Defaults()
	cfg.Sizes.Light.Limits, cfg.Sizes.Medium.Limits, cfg.Sizes.Heavy.Limits = lim("60/minute", 60), lim("15/minute", 15), lim("3/minute", 3)
	p := mustNew(t, cfg)
	tests := []struct {
		name                    string
		chars, tokens, expected int
		want, limit             string
	}{
		{"nothing", 0, 0, 0, SizeLight, "60/minute"},
		{"at the border", 2000, 1024, 0, SizeLight, "60/minute"},
		{"over by characters", 2001, 0, 0, SizeMedium, "15/minute"},
		{"over by tokens", 0, 1025, 0, SizeMedium, "15/minute"},
		{"at the border of heavy", 5000, 8191, 0, SizeMedium, "15/minute"},
		{"heavy by characters", 5001, 0, 0, SizeHeavy, "3/minute"},
		{"heavy from that many tokens", 0, 8192, 0, SizeHeavy, "3/minute"},
		{"the heaviest wins", 2001, 8192, 0, SizeHeavy, "3/minute"},
		{"expected stands for absent", 0, 0, 8192, SizeHeavy, "3/minute"},
		{"expected does not stand for given", 0, 10, 8192, SizeLight, "60/minute"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := chat()
			q.InputChars, q.MaxTokens, q.ExpectedTokens = tt.chars, tt.tokens, tt.expected
			d := decide(t, p, anna(), q)
			want := []string{"requests/*|user:anna@example.com", "size/" + tt.want + "/*|user:anna@example.com"}
			if d.Size != tt.want || d.limitsOf(BySize) != tt.limit {
				t.Errorf("%s %s, want %s %s", d.Size, d.limitsOf(BySize), tt.want, tt.limit)
			}
			if diff := cmp.Diff(want, keys(d)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatHasNoSize(t *testing.T) {
	cfg := Defaults()
	cfg.Sizes.Heavy.Limits = minutely(3)
	p := mustNew(t, cfg)
	long := func(e openai.Endpoint) *Query { q := chat(); q.Endpoint, q.InputChars = e, 1e6; return q }
	task := anna()
	task.Task = TaskQuery
	for _, tt := range []struct {
		name string
		id   *identity.Identity
		q    *Query
		want string
	}{
		{"a chat has", anna(), long(openai.Chat), SizeHeavy},
		{"messages have", anna(), long(openai.Messages), SizeHeavy},
		{"a task has none", task, long(openai.Chat), ""},
		{"embeddings have none", anna(), long(openai.Embeddings), ""},
		{"sound has none", anna(), long(openai.Transcriptions), ""},
	} {
		if d := decide(t, p, tt.id, tt.q); d.Size != tt.want || (d.limitsOf(BySize) != "") != (tt.want != "") {
			t.Errorf("%s: size %q, buckets %v", tt.name, d.Size, keys(d))
		}
	}
}

func TestARulesSizesStandOverTheGlobalOnes(t *testing.T) {
	cfg := withRules(Rule{Name: "lab", When: When{Group: []string{"R&D"}}, Sizes: &Sizes{
		Medium: Size{InputCharsOver: 10},
		Heavy:  Size{Limits: minutely(1)},
	}})
	cfg.Sizes.Medium.Limits = minutely(15)
	p := mustNew(t, cfg)
	q := chat()
	q.InputChars = 11
	if d := decide(t, p, anna(), q); d.Size != SizeMedium || keys(d)[1] != "size/medium/lab|user:anna@example.com" || d.Buckets[1].Limits[0].N != 15 {
		t.Errorf("own condition, global limit: %s %v", d.Size, d.Buckets)
	}
	q.InputChars = 5001
	if d := decide(t, p, anna(), q); d.Size != SizeHeavy || d.Buckets[1].Limits[0].N != 1 {
		t.Errorf("global condition, own limit: %s %v", d.Size, d.Buckets)
	}
}

func TestNobodyIsBoundedByClassAndPoolOnly(t *testing.T) {
	p := mustNew(t, withRules(
		Rule{When: When{Key: []string{"openwebui"}}, Class: new("vip"), Limits: minutely(1), Tokens: minutely(1), MaxRunning: new(1), Shared: true},
	))
	nobody := &identity.Identity{UserKey: "key:openwebui", KeyID: "openwebui", Forwarder: true, Nobody: true}
	d := decide(t, p, nobody, chat())
	if d.Class != "vip" || len(d.Buckets) != 0 || d.MaxRunning != 0 || d.MaxQueued != 0 {
		t.Errorf("%s, buckets %v, running %d, queued %d", d.Class, keys(d), d.MaxRunning, d.MaxQueued)
	}
	q := chat()
	q.Sequences = 5
	if _, problem := p.Decide(nobody, q); problem == nil {
		t.Error("max_sequences is a bound of the request, not of a person")
	}
}

func TestSequences(t *testing.T) {
	cfg := Defaults()
	cfg.MaxSlots = map[string]int{"small": 2, "main": 64}
	p := mustNew(t, cfg)
	for _, tt := range []struct {
		pool string
		n    int
		ok   bool
	}{{"main", 4, true}, {"main", 5, false}, {"small", 2, true}, {"small", 3, false}, {"learned", 4, true}, {"main", 10000, false}} {
		q := chat()
		q.Pool, q.Sequences = tt.pool, tt.n
		d, problem := p.Decide(anna(), q)
		if (problem == nil) != tt.ok || d == nil {
			t.Errorf("%d in %s: %v", tt.n, tt.pool, problem)
		}
		if problem != nil && (problem.Code != scheduler.CodeRequestTooLarge || problem.Code.Status() != 400 || problem.Param != "n") {
			t.Errorf("%+v", problem)
		}
	}
}

func TestRankOfClasses(t *testing.T) {
	cfg := Defaults()
	cfg.Classes = map[string]Class{
		"a": {Weight: 8, MaxWait: 1}, "b": {Weight: 1, MaxWait: 1}, "c": {Weight: 8, MaxWait: 1}, "d": {Weight: 3, MaxWait: 1},
	}
	cfg.DefaultClass = "b"
	cfg.Rules = nil
	for name := range cfg.Classes {
		cfg.Rules = append(cfg.Rules, Rule{When: When{Role: []string{name}}, Class: &name})
	}
	p := mustNew(t, cfg)
	got := map[string]int{}
	for name := range cfg.Classes {
		got[name] = decide(t, p, &identity.Identity{UserKey: "user:x", Roles: []string{name}}, chat()).EngineRank
	}
	if diff := cmp.Diff(map[string]int{"a": 0, "c": 0, "d": 1, "b": 2}, got); diff != "" {
		t.Error(diff)
	}
}

func TestTasks(t *testing.T) {
	p := mustNew(t, Defaults())
	title := TaskMark + "\nGenerate a concise title for this chat"
	tests := []struct {
		name      string
		forwarder bool
		header    string
		prompt    string
		task      string
		class     string
	}{
		{"no task", true, "", "", "", "standard"},
		{"by header", true, "title_generation", "", "title_generation", "background"},
		{"by prompt", true, "", title, "title_generation", "background"},
		{"the header knows better", true, "query_generation", title, "query_generation", "standard"},
		{"an empty header, too", true, "told", title, "", "standard"},
		{"a person who writes it means it", false, "", title, "", "standard"},
		{"a prompt that nobody knows", true, "", TaskMark + "\nSort these words", "", "standard"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			id, q := anna(), chat()
			id.Forwarder, id.Task, id.TaskTold, q.TaskPrompt = tt.forwarder, strings.TrimSuffix(tt.header, "told"), tt.header != "", tt.prompt
			if d := decide(t, p, id, q); d.Task != tt.task || d.Class != tt.class {
				t.Errorf("%q %s, want %q %s", d.Task, d.Class, tt.task, tt.class)
			}
		})
	}
}

// TestAGuessedTaskHasASize that questions do not share: anybody can write such a prompt.
func TestAGuessedTaskHasASize(t *testing.T) {
	cfg := Defaults()
	cfg.Sizes.Heavy.Limits = minutely(3)
	p := mustNew(t, cfg)
	q := chat()
	q.TaskPrompt, q.InputChars = TaskMark+"\nGenerate a title for", 1e6
	const requests, size = "requests/task=#05efd41711a0c10a|user:anna@example.com", "size/heavy/*|user:anna@example.com"
	d := decide(t, p, anna(), q)
	if diff := cmp.Diff([]string{requests, "task " + size}, keys(d)); diff != "" || d.Task != TaskTitle || d.Class != "background" || d.Size != SizeHeavy {
		t.Errorf("%q, %s, %s %s", d.Task, d.Class, d.Size, diff)
	}
	id := anna()
	id.Task, id.TaskTold = TaskTitle, true
	d = decide(t, p, id, q)
	if diff := cmp.Diff([]string{requests}, keys(d)); diff != "" || d.Size != "" {
		t.Errorf("told by header: %s %s", d.Size, diff)
	}
}

func TestGuessTask(t *testing.T) {
	for prompt, want := range map[string]string{
		"":                           "",
		"title":                      "",
		"### Task: Generate a TITLE": TaskTitle,
		"\n ### Task:\n\nWrite broad tags for the chat":     TaskTags,
		"### Task:\nSuggest follow-up questions":            TaskFollowUp,
		"### Task:\nSuggest follow up questions":            TaskFollowUp,
		"### Task:\nDecide on search queries":               TaskQuery,
		"### Task:\nYou are an autocompletion system":       TaskAutocomplete,
		"### Task:\nDescribe an image":                      TaskImagePrompt,
		"### Task:\nSomething else\nGenerate a title":       "",
		"### Task:\n" + strings.Repeat("x", 500) + " title": "",
		"### Task:": "",
	} {
		if got := GuessTask(prompt); got != want {
			t.Errorf("%q: %q, want %q", prompt, got, want)
		}
	}
}

func TestAPolicyKeepsNothingOfItsConfiguration(t *testing.T) {
	cfg := withRules(Rule{Limits: minutely(5), AllowFields: []string{"a"}})
	cfg.MaxSlots = map[string]int{"main": 2}
	p := mustNew(t, cfg)
	cfg.Rules[0].Limits.Set[0].N = 99
	cfg.Rules[0].AllowFields[0] = "b"
	cfg.MaxSlots["main"] = 99
	d := decide(t, p, anna(), chat())
	if d.Buckets[0].Limits[0].N != 5 || d.AllowFields[0] != "a" || d.MaxSequences != 2 {
		t.Errorf("%+v", d)
	}
}
