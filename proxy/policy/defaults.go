package policy

import (
	"time"

	"fairlane/proxy/limit"
)

// ClassDefaults are the values of the keys that a class does not set.
func ClassDefaults() Class { return Class{Weight: 1, MaxWait: 2 * time.Minute, MaxQueued: 2000} }

// Defaults is the configuration of an empty file.
func Defaults() Config {
	return Config{
		Classes: map[string]Class{
			"vip":        {Weight: 8, MaxWait: 2 * time.Minute, MaxQueued: 1000},
			"standard":   {Weight: 3, MaxWait: 2 * time.Minute, MaxQueued: 2000},
			"background": {Weight: 1, MaxWait: 10 * time.Minute, MaxQueued: 10000},
		},
		DefaultClass: "standard",
		Rules:        DefaultRules(),
		Sizes: Sizes{
			Medium: Size{InputCharsOver: 2000, MaxTokensOver: 1024},
			Heavy:  Size{InputCharsOver: 5000, MaxTokensFrom: 8192},
		},
		MaxQueuedPerUser: 64,
	}
}

// DefaultRules are the rules that hold unless the configuration has a list of
// its own. The built-in last rule is not among them.
func DefaultRules() []Rule {
	background := new("background")
	aside := asides()
	rules := []Rule{aside[chore], aside[typing], aside[part], {When: When{Anonymous: new(true)}}}
	for i := range rules {
		rules[i].Class = background
	}
	rules[1].MaxWait = new(2 * time.Second) // late suggestions are worthless
	return rules
}

// BuiltIn is the last rule, which matches everything. What it does not set comes
// from elsewhere in the configuration: the class is default_class, max_wait the
// class's, max_queued the queue's, sizes the global ones.
func BuiltIn() Rule {
	return Rule{
		Weight:         new(1.0),
		Limits:         perMinute("100/minute", 100),
		Tokens:         &Limits{},
		MaxRunning:     new(8),
		MaxSequences:   new(4),
		MaySetPriority: new(false),
		AllowFields:    []string{},
		PrefixCache:    new(CacheShared),
	}
}

func perMinute(text string, n int64) *Limits {
	return &Limits{Text: text, Set: []limit.Limit{{N: n, Period: time.Minute, Burst: n}}}
}
