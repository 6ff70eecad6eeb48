package policy

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/limit"
)

func TestValidation(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Config)
		want   []string // beginnings of the errors, in order
	}{
		{"defaults are valid", func(*Config) {}, nil},
		{"no class", func(c *Config) { c.Classes = nil; c.Rules = nil }, []string{"classes: there is none"}},
		{"name of a class", func(c *Config) { c.Classes["Big One"] = ClassDefaults() }, []string{`classes.Big One: "Big One" is no name`}},
		{"a long name", func(c *Config) { c.Classes[strings.Repeat("x", 33)] = ClassDefaults() }, []string{"classes.xxx"}},
		{"light class", func(c *Config) { c.Classes["a"] = Class{Weight: 0.001, MaxWait: 1} }, []string{"classes.a.weight: 0.001 is outside 0.01 to 1000"}},
		{"heavy class", func(c *Config) { c.Classes["a"] = Class{Weight: 1001, MaxWait: 1} }, []string{"classes.a.weight: 1001 is outside"}},
		{"no number", func(c *Config) { c.Classes["a"] = Class{Weight: math.NaN(), MaxWait: 1} }, []string{"classes.a.weight: NaN is outside"}},
		{"no time to wait", func(c *Config) { c.Classes["a"] = Class{Weight: 1} }, []string{"classes.a.max_wait: 0s is no time"}},
		{"negative bounds", func(c *Config) { c.Classes["a"] = Class{Weight: 1, MaxWait: 1, MaxQueued: -1, Headroom: -1} }, []string{"classes.a.max_queued: -1", "classes.a.headroom: -1"}},
		{"no default class", func(c *Config) { c.DefaultClass = "" }, []string{"default_class: is missing; the classes are background, standard, vip"}},
		{"unknown default class", func(c *Config) { c.DefaultClass = "gold" }, []string{`default_class: there is no class "gold"; the classes are background, standard, vip`}},
		{"negative queue", func(c *Config) { c.MaxQueuedPerUser = -1 }, []string{"queue.max_queued_per_user: -1"}},
		{"unknown class in a rule", func(c *Config) { c.Rules[3].Class = new("gold") }, []string{`policy[3].class: there is no class "gold"`}},
		{"name of a rule", func(c *Config) { c.Rules[3].Name = "a=b" }, []string{`policy[3].name: "a=b" has to match`}},
		{"weight of a rule", func(c *Config) { c.Rules[3].Weight = new(0.0) }, []string{"policy[3].weight: 0 is outside"}},
		{"bounds of a rule", func(c *Config) {
			c.Rules[3] = Rule{MaxRunning: new(-1), MaxQueued: new(-1), MaxSequences: new(0), MaxWait: new(time.Duration)}
		}, []string{"policy[3].max_running: -1", "policy[3].max_queued: -1", "policy[3].max_sequences: 0 is less than 1", "policy[3].max_wait: 0s"}},
		{"limits", func(c *Config) {
			c.Rules[3].Limits = &Limits{Text: "0/minute", Set: []limit.Limit{{Period: time.Minute}}}
			c.Rules[3].Tokens = &Limits{Text: "1/x", Set: []limit.Limit{{N: 1}}}
		}, []string{`policy[3].limits: "0/minute" is no limit`, `policy[3].tokens: "1/x" is no limit`}},
		{"prefix_cache", func(c *Config) { c.Rules[3].PrefixCache = new("mine") }, []string{`policy[3].prefix_cache: is "mine", and has to be shared or own`}},
		{"allow_fields", func(c *Config) { c.Rules[3].AllowFields = []string{""} }, []string{"policy[3].allow_fields: a name is empty"}},
		{"shared nothing", func(c *Config) { c.Rules[3].Shared = true }, []string{"policy[3].shared: the rule has no limits"}},
		{"empty list", func(c *Config) { c.Rules[3].When.Role = []string{} }, []string{"policy[3].when.role: is an empty list"}},
		{"empty value", func(c *Config) { c.Rules[3].When.Role = []string{"a", ""} }, []string{`policy[3].when.role: "" is empty or has blanks`}},
		{"blanks", func(c *Config) { c.Rules[3].When.Group = []string{" vip"} }, []string{`policy[3].when.group: " vip" is empty or has blanks`}},
		{"endpoint", func(c *Config) { c.Rules[3].When.Endpoint = []string{"chats"} }, []string{`policy[3].when.endpoint: "chats" is none of chat, `}},
		{"auth type", func(c *Config) { c.Rules[3].When.AuthType = []string{"key"} }, []string{`policy[3].when.auth_type: "key" is none of jwt, api_key`}},
		{"network", func(c *Config) { c.Rules[3].When.IP = []string{"10.0.0.0/33"} }, []string{`policy[3].when.ip: "10.0.0.0/33" is neither an address nor a CIDR`}},
		{"size", func(c *Config) { c.Sizes.Heavy.InputCharsOver = -1 }, []string{"sizes.heavy.when.input_chars_over: -1"}},
		{"size of a rule", func(c *Config) { c.Rules[3].Sizes = &Sizes{Medium: Size{MaxTokensFrom: -1}} }, []string{"policy[3].sizes.medium.when.max_tokens_from: -1"}},
		{"light has no conditions", func(c *Config) { c.Sizes.Light.InputCharsOver = 1 }, []string{"sizes.light.when: light is"}},
		{"many rules", func(c *Config) { c.Rules = make([]Rule, maxRules+1) }, []string{"policy: has 1001 rules"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Defaults()
			tt.change(&cfg)
			_, err := New(cfg)
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			for i := range got {
				if i < len(tt.want) && strings.HasPrefix(got[i], tt.want[i]) {
					got[i] = tt.want[i]
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
