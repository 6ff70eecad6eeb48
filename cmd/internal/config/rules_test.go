package config

import (
	"testing"
	"time"

	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
)

func limits(t *testing.T, text string) *policy.Limits {
	t.Helper()
	set, err := limit.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return &policy.Limits{Text: text, Set: set}
}

func TestRules(t *testing.T) {
	c := parse(t, `
policy:
  - name: everything
    when: {user: a, email: [b, c], key: 007, role: r, group: ["R&D", "true"], model: m, endpoint: chat, task: t, auth_type: jwt, ip: 10.0.0.0/8, anonymous: false}
    class: vip
    weight: 0.5
    limits: "30/minute; 5/second"
    tokens: ""
    sizes: {medium: {limits: "1/minute"}, heavy: {when: {max_tokens_from: 9}, limits: ""}}
    max_running: 0
    max_queued: 2
    max_sequences: 3
    max_wait: 4s
    may_set_priority: true
    allow_fields: [cache_salt]
    prefix_cache: own
    shared: true
  - {prefix_cache: own, allow_fields: []}
  - {max_running: 9}
`, nil)
	check(t, "rules", []policy.Rule{
		{
			Name: "everything",
			When: policy.When{
				User: []string{"a"}, Email: []string{"b", "c"}, Key: []string{"007"}, Role: []string{"r"}, Group: []string{"R&D", "true"}, Model: []string{"m"},
				Endpoint: []string{"chat"}, Task: []string{"t"}, AuthType: []string{"jwt"}, IP: []string{"10.0.0.0/8"}, Anonymous: new(false),
			},
			Class: new("vip"), Weight: new(0.5), Limits: limits(t, "30/minute; 5/second"), Tokens: &policy.Limits{},
			Sizes: &policy.Sizes{
				Medium: policy.Size{Limits: limits(t, "1/minute")},
				Heavy:  policy.Size{MaxTokensFrom: 9, Limits: &policy.Limits{}},
			},
			MaxRunning: new(0), MaxQueued: new(2), MaxSequences: new(3), MaxWait: new(4 * time.Second), MaySetPriority: new(true),
			AllowFields: []string{"cache_salt"}, PrefixCache: new("own"), Shared: true,
		},
		{PrefixCache: new("own"), AllowFields: []string{}},
		{MaxRunning: new(9)},
	}, c.Policy.Rules)
	if c.Policy.Rules[1].AllowFields == nil {
		t.Error("an empty list does not set allow_fields")
	}
	if got := parse(t, "policy: []", nil).Policy.Rules; len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// A class of one's own stands beside the three, and a mapping changes one key.
func TestClasses(t *testing.T) {
	c := parse(t, "classes: {vip: {weight: 16}, gold: {max_queued: 0}, background: {headroom: 2, codel: true, max_wait: 1h}}\ndefault_class: gold", nil)
	check(t, "classes", map[string]policy.Class{
		"vip":        {Weight: 16, MaxWait: 2 * time.Minute, MaxQueued: 1000},
		"standard":   policy.Defaults().Classes["standard"],
		"background": {Weight: 1, MaxWait: time.Hour, MaxQueued: 10000, Headroom: 2, CoDel: true},
		"gold":       {Weight: 1, MaxWait: 2 * time.Minute, MaxQueued: 0},
	}, c.Policy.Classes)
	check(t, "default", "gold", c.Policy.DefaultClass)
}

func TestSizes(t *testing.T) {
	c := parse(t, `sizes: {light: {limits: "60/minute"}, medium: {when: {max_tokens_over: 5}}, heavy: {limits: "3/minute"}}`, nil)
	check(t, "sizes", policy.Sizes{
		Light:  policy.Size{Limits: limits(t, "60/minute")},
		Medium: policy.Size{MaxTokensOver: 5},
		Heavy:  policy.Size{InputCharsOver: 5000, MaxTokensFrom: 8192, Limits: limits(t, "3/minute")},
	}, c.Policy.Sizes)
}

func TestTiers(t *testing.T) {
	c := parse(t, "tiers: [{classes: vip, floor_below: 0.1}, {classes: [standard, background]}]", nil)
	check(t, "tiers", []Tier{{[]string{"vip"}, 0.1}, {[]string{"standard", "background"}, 0.1}}, c.Tiers)
}
