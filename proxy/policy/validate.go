package policy

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
)

const (
	minWeight, maxWeight = 0.01, 1000
	maxRules             = 1000
	namePattern          = `[a-z0-9][a-z0-9_-]{0,31}`
)

// faults collects what is wrong with a configuration.
type faults struct {
	errs []error
	name *regexp.Regexp
}

func (f *faults) add(path, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

func (c *Config) validate() error {
	f := &faults{name: regexp.MustCompile(`^` + namePattern + `$`)}
	c.validateClasses(f)
	if c.MaxQueuedPerUser < 0 {
		f.add("queue.max_queued_per_user", "%d is negative; 0 means no bound", c.MaxQueuedPerUser)
	}
	f.sizes("sizes", &c.Sizes)
	if len(c.Rules) > maxRules {
		f.add("policy", "has %d rules, and %d are the most", len(c.Rules), maxRules)
	}
	for i := range c.Rules {
		c.validateRule(f, fmt.Sprintf("policy[%d]", i), &c.Rules[i])
	}
	return errors.Join(f.errs...)
}

func (c *Config) validateClasses(f *faults) {
	if len(c.Classes) == 0 {
		f.add("classes", "there is none, and at least one is needed")
		return
	}
	for _, name := range c.classNames() {
		class, path := c.Classes[name], "classes."+name
		if !f.name.MatchString(name) {
			f.add(path, "%q is no name of a class: it has to match %s", name, namePattern)
		}
		f.weight(path+".weight", class.Weight)
		f.wait(path+".max_wait", class.MaxWait)
		f.atLeast(path+".max_queued", class.MaxQueued, 0)
		f.atLeast(path+".headroom", class.Headroom, 0)
	}
	if c.DefaultClass == "" {
		f.add("default_class", "is missing; the classes are %s", strings.Join(c.classNames(), ", "))
		return
	}
	c.known(f, "default_class", c.DefaultClass)
}

func (c *Config) classNames() []string { return slices.Sorted(maps.Keys(c.Classes)) }

func (c *Config) known(f *faults, path, name string) {
	if _, ok := c.Classes[name]; !ok && len(c.Classes) > 0 {
		f.add(path, "there is no class %q; the classes are %s", name, strings.Join(c.classNames(), ", "))
	}
}

func (c *Config) validateRule(f *faults, path string, r *Rule) {
	if r.Name != "" && !f.name.MatchString(r.Name) {
		f.add(path+".name", "%q has to match %s", r.Name, namePattern)
	}
	f.when(path+".when", &r.When)
	if r.Class != nil {
		c.known(f, path+".class", *r.Class)
	}
	if r.Weight != nil {
		f.weight(path+".weight", *r.Weight)
	}
	f.limits(path+".limits", r.Limits)
	f.limits(path+".tokens", r.Tokens)
	if r.Sizes != nil {
		f.sizes(path+".sizes", r.Sizes)
	}
	f.optional(path+".max_running", r.MaxRunning, 0)
	f.optional(path+".max_queued", r.MaxQueued, 0)
	f.optional(path+".max_sequences", r.MaxSequences, 1)
	if r.MaxWait != nil {
		f.wait(path+".max_wait", *r.MaxWait)
	}
	if slices.Contains(r.AllowFields, "") {
		f.add(path+".allow_fields", "a name is empty")
	}
	if r.PrefixCache != nil && *r.PrefixCache != CacheShared && *r.PrefixCache != CacheOwn {
		f.add(path+".prefix_cache", "is %q, and has to be %s or %s", *r.PrefixCache, CacheShared, CacheOwn)
	}
	limited := r.Limits != nil || r.Tokens != nil || r.Sizes != nil
	if r.Shared && !limited {
		f.add(path+".shared", "the rule has no limits, tokens or sizes that could be shared")
	}
	if r.Follow != nil {
		f.follow(path+".limits_follow_load", r.Follow)
		if !limited {
			f.add(path+".limits_follow_load", "the rule has no limits, tokens or sizes that could follow the load")
		}
	}
}

func (f *faults) weight(path string, w float64) {
	if math.IsNaN(w) || w < minWeight || w > maxWeight {
		f.add(path, "%v is outside %v to %v", w, minWeight, maxWeight)
	}
}

func (f *faults) wait(path string, d time.Duration) {
	if d <= 0 {
		f.add(path, "%v is no time to wait: it has to be positive, like 120s", d)
	}
}

func (f *faults) atLeast(path string, n, least int) {
	if n < least {
		f.add(path, "%d is less than %d", n, least)
	}
}

func (f *faults) optional(path string, n *int, least int) {
	if n != nil {
		f.atLeast(path, *n, least)
	}
}

func (f *faults) limits(path string, l *Limits) {
	if l == nil {
		return
	}
	for _, one := range l.Set {
		if one.N <= 0 || one.Period <= 0 || one.Burst < 0 {
			f.add(path, "%q is no limit: it has to be like 30/minute", l.Text)
		}
	}
}

func (f *faults) sizes(path string, s *Sizes) {
	for _, row := range []struct {
		name string
		size *Size
	}{{SizeLight, &s.Light}, {SizeMedium, &s.Medium}, {SizeHeavy, &s.Heavy}} {
		at, size := path+"."+row.name, row.size
		f.atLeast(at+".when.input_chars_over", size.InputCharsOver, 0)
		f.atLeast(at+".when.input_chars_from", size.InputCharsFrom, 0)
		f.atLeast(at+".when.max_tokens_over", size.MaxTokensOver, 0)
		f.atLeast(at+".when.max_tokens_from", size.MaxTokensFrom, 0)
		f.limits(at+".limits", size.Limits)
	}
	if s.Light.conditional() {
		f.add(path+".light.when", "light is what is neither medium nor heavy, and has no conditions")
	}
}

func (f *faults) when(path string, w *When) {
	for _, c := range w.conditions() {
		at := path + "." + c.name
		if c.values != nil && len(c.values) == 0 {
			f.add(at, "is an empty list, which matches nobody: leave it out, or name somebody")
		}
		for _, v := range c.values {
			f.value(at, c.field, v)
		}
	}
}

func (f *faults) value(path string, of field, v string) {
	if strings.TrimSpace(v) != v || v == "" {
		f.add(path, "%q is empty or has blanks around it", v)
		return
	}
	switch of {
	case fieldIP:
		if _, err := parsePrefix(v); err != nil {
			f.add(path, "%q %v, like 10.0.0.0/8", v, err)
		}
	case fieldEndpoint:
		f.oneOf(path, v, endpoints())
	case fieldAuthType:
		f.oneOf(path, v, []string{
			string(identity.AuthJWT), string(identity.AuthAPIKey), string(identity.AuthForwarded), string(identity.AuthAnonymous),
		})
	default:
	}
}

func (f *faults) oneOf(path, v string, known []string) {
	if !slices.Contains(known, v) {
		f.add(path, "%q is none of %s", v, strings.Join(known, ", "))
	}
}

// endpoints are those that rules see: what is queued, and what is passed on.
func endpoints() []string {
	seen := []openai.Endpoint{
		openai.Chat, openai.ChatBatch, openai.Completions, openai.Responses, openai.Messages, openai.Embeddings, openai.Pooling,
		openai.Classify, openai.Rerank, openai.Score, openai.Transcriptions, openai.Translations,
		openai.Tokenize, openai.Detokenize, openai.CountTokens, openai.ResponseGet, openai.ResponseCancel,
	}
	out := make([]string, len(seen))
	for i, e := range seen {
		out[i] = string(e)
	}
	return out
}
