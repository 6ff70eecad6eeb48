package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
	"fairlane/scheduler/turn"
)

// rules reads what the policy package decides by. A reload takes all of it.
func (c *Config) rules(s *section) {
	s.hot = true
	s.in("classes", c.classes)
	take(s, "default_class", &c.Policy.DefaultClass, plainName())
	s.in("queue", func(s *section) {
		take(s, "max_queued_per_user", &c.Policy.MaxQueuedPerUser, count())
		take(s, "max_bytes", &c.Edge.MaxBytes, size())
	})
	if items, given := s.items("policy"); given {
		c.Policy.Rules = make([]policy.Rule, len(items))
		for i, item := range items {
			item.quiet = true
			c.rule(item, &c.Policy.Rules[i])
			item.done()
		}
	}
	s.in("sizes", func(s *section) { sizes(s, &c.Policy.Sizes) })
	c.tiers(s)
	s.in("load", c.load)
	s.hot = false
	c.Policy.MaxSlots = map[string]int{}
	for _, p := range c.Pools {
		for _, b := range p.Backends {
			c.Policy.MaxSlots[p.Name] = max(c.Policy.MaxSlots[p.Name], b.Slots)
		}
	}
	_, err := policy.New(c.Policy)
	s.adopt(err)
	s.adopt(c.Edge.Validate())
}

// classes reads the classes over the default ones.
func (c *Config) classes(s *section) {
	names := slices.Collect(maps.Keys(c.Policy.Classes))
	for name := range s.fields {
		if _, ok := c.Policy.Classes[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		class, known := c.Policy.Classes[name]
		if !known {
			class = policy.ClassDefaults()
		}
		at := &class
		s.in(name, func(s *section) {
			take(s, "weight", &at.Weight, number(-math.MaxFloat64, math.MaxFloat64))
			take(s, "max_wait", &at.MaxWait, duration(0))
			take(s, "max_queued", &at.MaxQueued, count())
			take(s, "headroom", &at.Headroom, count())
			take(s, "codel", &at.CoDel, flag())
		})
		c.Policy.Classes[name] = class
	}
}

func (c *Config) rule(s *section, r *policy.Rule) {
	take(s, "name", &r.Name, text())
	s.in("when", func(s *section) { when(s, &r.When) })
	maybe(s, "class", &r.Class, plainName())
	maybe(s, "weight", &r.Weight, number(-math.MaxFloat64, math.MaxFloat64))
	maybeLimits(s, "limits", &r.Limits)
	maybeLimits(s, "tokens", &r.Tokens)
	if s.has("sizes") {
		r.Sizes = &policy.Sizes{}
	}
	s.in("sizes", func(s *section) {
		if r.Sizes != nil {
			sizes(s, r.Sizes)
		}
	})
	maybe(s, "max_running", &r.MaxRunning, count())
	maybe(s, "max_queued", &r.MaxQueued, count())
	maybe(s, "max_sequences", &r.MaxSequences, whole(1, math.MaxInt))
	maybe(s, "max_wait", &r.MaxWait, positive())
	maybe(s, "may_set_priority", &r.MaySetPriority, flag())
	takeList(s, "allow_fields", &r.AllowFields, text())
	maybe(s, "prefix_cache", &r.PrefixCache, word(policy.CacheShared, policy.CacheOwn))
	take(s, "shared", &r.Shared, flag())
	if s.has("limits_follow_load") {
		r.Follow = &policy.Follow{From: 1, To: 1}
	}
	s.in("limits_follow_load", func(s *section) {
		if r.Follow != nil {
			take(s, "from", &r.Follow.From, number(-math.MaxFloat64, math.MaxFloat64))
			take(s, "to", &r.Follow.To, number(-math.MaxFloat64, math.MaxFloat64))
		}
	})
}

// load reads when a pool counts as loaded and when as idle.
func (c *Config) load(s *section) {
	c.Load = turn.DefaultMarks()
	take(s, "kv_low", &c.Load.KVLow, number(-math.MaxFloat64, math.MaxFloat64))
	take(s, "kv_high", &c.Load.KVHigh, number(-math.MaxFloat64, math.MaxFloat64))
	take(s, "wait_low", &c.Load.WaitLow, duration(0))
	take(s, "wait_high", &c.Load.WaitHigh, duration(0))
	s.adopt(c.Load.Validate())
}

func when(s *section, w *policy.When) {
	for _, list := range []struct {
		key string
		to  *[]string
	}{
		{"user", &w.User},
		{"email", &w.Email},
		{"key", &w.Key},
		{"role", &w.Role},
		{"group", &w.Group},
		{"model", &w.Model},
		{"endpoint", &w.Endpoint},
		{"task", &w.Task},
		{"auth_type", &w.AuthType},
		{"ip", &w.IP},
	} {
		takeList(s, list.key, list.to, text())
	}
	maybe(s, "anonymous", &w.Anonymous, flag())
}

// sizes reads the rows of sizes, the global ones or those of a rule.
func sizes(s *section, sizes *policy.Sizes) {
	s.in(policy.SizeLight, func(s *section) { row(s, &sizes.Light) })
	s.in(policy.SizeMedium, func(s *section) { row(s, &sizes.Medium) })
	s.in(policy.SizeHeavy, func(s *section) { row(s, &sizes.Heavy) })
}

// row reads one row. A `when` replaces the default conditions, which are those
// of one thought.
func row(s *section, to *policy.Size) {
	if s.has("when") {
		*to = policy.Size{}
	}
	s.in("when", func(s *section) {
		take(s, "input_chars_over", &to.InputCharsOver, count())
		take(s, "input_chars_from", &to.InputCharsFrom, count())
		take(s, "max_tokens_over", &to.MaxTokensOver, count())
		take(s, "max_tokens_from", &to.MaxTokensFrom, count())
	})
	if !s.quiet {
		s.settings = append(s.settings, limitsSetting(s, "limits", &to.Limits))
	}
	if maybeLimits(s, "limits", &to.Limits); !s.quiet && to.Limits != nil && len(to.Limits.Set) == 0 {
		to.Limits = nil // over a row of everybody's there is none to be switched off
	}
}

func limitsSetting(s *section, key string, to **policy.Limits) setting {
	show := func() string {
		if *to == nil || (*to).Text == "" {
			return `""`
		}
		return (*to).Text
	}
	return setting{path: join(s.path, key), text: show, exact: show, given: s.has(key), hot: s.hot}
}

func maybeLimits(s *section, key string, to **policy.Limits) {
	k := kind[policy.Limits]{want: `limits like "30/minute; 5/second", or ""`, isText: true, parse: func(text string) (policy.Limits, error) {
		set, err := limit.Parse(text)
		if wrong, ok := errors.AsType[*limit.SyntaxError](err); ok {
			return policy.Limits{}, fmt.Errorf("at its character %d is expected %s", wrong.At, wrong.Expected)
		} else if err != nil {
			return policy.Limits{}, err
		}
		return policy.Limits{Text: strings.TrimSpace(text), Set: set}, nil
	}}
	maybe(s, key, to, k)
}
