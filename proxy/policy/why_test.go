package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/identity"
)

func TestWhy(t *testing.T) {
	cfg := withRules(
		Rule{When: When{Group: []string{"R&D"}}, Class: new("vip"), Limits: lim("30/minute", 30)},
		Rule{Weight: new(0.5), PrefixCache: new("own"), AllowFields: []string{"cache_salt", "priority"}},
	)
	cfg.MaxSlots = map[string]int{"main": 2}
	got := decide(t, mustNew(t, cfg), anna(), chat()).Why()
	want := []Why{
		{"class", "vip", "policy[0] group=R&D"},
		{"weight", "0.5", "policy[1]"},
		{"limits", "30/minute", "policy[0] group=R&D"},
		{"tokens", "", "built-in rule"},
		{"sizes", "light", "sizes"},
		{"max_running", "8", "built-in rule"},
		{"max_queued", "64", "queue.max_queued_per_user"},
		{"max_sequences", "2", "slots of the pool"},
		{"max_wait", "2m0s", "classes.vip"},
		{"may_set_priority", "false", "built-in rule"},
		{"allow_fields", "cache_salt, priority", "policy[1]"},
		{"prefix_cache", "own", "policy[1]"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhyNobody(t *testing.T) {
	nobody := &identity.Identity{UserKey: "key:openwebui", KeyID: "openwebui", Forwarder: true, Nobody: true}
	for _, why := range decide(t, mustNew(t, Defaults()), nobody, chat()).Why() {
		bound := why.Key == "limits" || why.Key == "tokens" || why.Key == "sizes" || why.Key == "max_running" || why.Key == "max_queued"
		if got := why.From == "nobody: bounded by class and pool only"; got != bound {
			t.Errorf("%s %q comes from %q", why.Key, why.Value, why.From)
		}
		if why.Key == "class" && why.From != "default_class" {
			t.Errorf("class comes from %q", why.From)
		}
	}
}

func ExamplePolicy_Decide() {
	cfg := Defaults()
	cfg.Rules = append(cfg.Rules, Rule{When: When{Group: []string{"vip"}}, Class: new("vip")})
	p, err := New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	member := &identity.Identity{UserKey: "user:anna@example.com", Groups: []string{"vip"}}
	d, problem := p.Decide(member, &Query{Endpoint: "chat", Pool: "main", Sequences: 1})
	if problem != nil {
		fmt.Println(problem)
		return
	}
	fmt.Println(d.Class, d.EngineRank, d.MaxWait)
	for i := range d.Buckets {
		fmt.Println(d.Buckets[i].Key(), d.Buckets[i].Text)
	}
	// Output:
	// vip 0 2m0s
	// requests/*|user:anna@example.com 100/minute
}

// People are told what a rule asks for, and not by what its buckets are called.
func TestWhyNamesALongRuleInWords(t *testing.T) {
	many := []string{"a-rather-long-group-name", "b-rather-long-group-name", "c-rather-long-group-name", "d-rather-long-group-name"}
	for _, tt := range []struct {
		rule Rule
		want string
	}{
		{DefaultRules()[0], "policy[0] task=emoji_generation,follow_up_generation and 3 more"},
		{Rule{When: When{Group: many, Role: []string{"user"}}}, "policy[0] role=user group=a-rather-long-group-name,b-rather-long-group-name and 2 more"},
		{Rule{When: When{Group: many[:3], Role: []string{"user"}}}, "policy[0] role=user group=a-rather-long-group-name,b-rather-long-group-name,c-rather-long-group-name"},
		{Rule{Name: "chores", When: When{Group: many}}, "policy[0] chores"},
		{Rule{When: When{User: []string{strings.Repeat("é", 100)}}}, "policy[0] user=" + strings.Repeat("é", 77) + "…"},
	} {
		tt.rule.Class = new("background")
		who := &identity.Identity{ID: strings.Repeat("é", 100), UserKey: "user:x", Roles: []string{"user"}, Groups: many[:1], Task: TaskTitle}
		if got := decide(t, mustNew(t, withRules(tt.rule)), who, chat()).Why()[0]; got.From != tt.want {
			t.Errorf("%q, want %q", got.From, tt.want)
		}
	}
}
