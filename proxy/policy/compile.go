package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// key is one that a rule may set.
type key int

const (
	keyClass key = iota
	keyWeight
	keyLimits
	keyTokens
	keySizes
	keyMaxRunning
	keyMaxQueued
	keyMaxSequences
	keyMaxWait
	keyMaySetPriority
	keyAllowFields
	keyPrefixCache
	numKeys
)

const allKeys = 1<<numKeys - 1

// Policy is a compiled configuration. It is immutable and safe for concurrent use.
type Policy struct {
	rules    []rule          // the last one is built in
	asides   [numAsides]rule // what they say holds for what is no question, unless a rule says what it is
	classes  map[string]*class
	maxSlots map[string]int
	follows  []Following
}

// class is a Class with what follows from it.
type class struct {
	Class
	name string
	rank int
}

// rule is a Rule made fit for walking: what it sets as a mask, its values plain.
type rule struct {
	sets   uint16
	checks []check

	class          *class
	weight         float64
	limits, tokens graded
	sizes          sizes
	maxRunning     int
	maxQueued      int
	maxSequences   int
	maxWait        time.Duration // 0: the class's
	maySetPriority bool
	allowFields    []string
	ownCache       bool
	shared         bool

	label                    string // of its buckets: its name, or what its when says
	brief                    string // the same for people, without a hash
	requestScope, tokenScope string
	position                 int    // in the configured list
	from                     string // where, and brief, as Why names it
	builtIn                  bool
	namesEndpoint, namesTask bool // in its when
}

type sizes struct {
	Sizes
	limits [3]graded // light, medium, heavy
	scopes [3]string
}

// New checks and compiles a configuration. The error joins all that is wrong, each
// with the path of its key.
func New(cfg Config) (*Policy, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	classes := rank(cfg.Classes)
	p := &Policy{classes: classes, maxSlots: maps.Clone(cfg.MaxSlots), rules: make([]rule, 0, len(cfg.Rules)+1)}
	for i := range cfg.Rules {
		r := compile(&cfg.Rules[i], classes, cfg.Sizes)
		r.position = i
		r.from = strings.TrimSuffix("policy["+strconv.Itoa(i)+"] "+r.brief, " *")
		p.rules = append(p.rules, r)
		if f := cfg.Rules[i].Follow; f != nil {
			p.follows = append(p.follows, Following{Rule: cmp.Or(cfg.Rules[i].Name, "policy["+strconv.Itoa(i)+"]"), Follow: *f})
		}
	}
	p.rules = append(p.rules, compileBuiltIn(&cfg, classes))
	for i, r := range asides() {
		p.asides[i] = compile(&r, classes, cfg.Sizes)
		p.asides[i].from = "built-in rule " + p.asides[i].brief
	}
	return p, nil
}

// Rank is the place of a class among all by weight, the heaviest 0; classes of one
// weight have one rank. A class that is unknown comes after all others.
func (p *Policy) Rank(name string) int {
	if c := p.classes[name]; c != nil {
		return c.rank
	}
	return len(p.classes)
}

// rank orders classes by weight, the heaviest 0.
func rank(cfg map[string]Class) map[string]*class {
	weights := make([]float64, 0, len(cfg))
	for _, c := range cfg {
		weights = append(weights, c.Weight)
	}
	slices.SortFunc(weights, func(a, b float64) int { return cmp.Compare(b, a) })
	weights = slices.Compact(weights)
	out := make(map[string]*class, len(cfg))
	for name, c := range cfg {
		out[name] = &class{Class: c, name: name, rank: slices.Index(weights, c.Weight)}
	}
	return out
}

func compileBuiltIn(cfg *Config, classes map[string]*class) rule {
	last := BuiltIn()
	last.Class, last.Sizes, last.MaxQueued = &cfg.DefaultClass, &Sizes{}, &cfg.MaxQueuedPerUser
	r := compile(&last, classes, cfg.Sizes)
	r.sets, r.builtIn = allKeys, true
	return r
}

func compile(in *Rule, classes map[string]*class, global Sizes) rule {
	r := rule{checks: compileWhen(&in.When), shared: in.Shared, limits: grade(in.Limits, in.Follow), tokens: grade(in.Tokens, in.Follow)}
	r.namesEndpoint, r.namesTask = len(in.When.Endpoint) > 0, len(in.When.Task) > 0
	r.label, r.brief = label(in), cmp.Or(in.Name, in.When.brief())
	r.requestScope, r.tokenScope = "requests/"+r.label, "tokens/"+r.label
	r.mark(keyLimits, in.Limits != nil)
	r.mark(keyTokens, in.Tokens != nil)
	if in.Class != nil {
		r.class = classes[*in.Class]
		r.mark(keyClass, true)
	}
	if in.Sizes != nil {
		r.sizes.Sizes = in.Sizes.over(global)
		for i, size := range []string{SizeLight, SizeMedium, SizeHeavy} {
			r.sizes.scopes[i] = "size/" + size + "/" + r.label
			r.sizes.limits[i] = grade([...]*Limits{r.sizes.Light.Limits, r.sizes.Medium.Limits, r.sizes.Heavy.Limits}[i], in.Follow)
		}
		r.mark(keySizes, true)
	}
	if in.AllowFields != nil {
		r.allowFields = slices.Clone(in.AllowFields)
		r.mark(keyAllowFields, true)
	}
	if in.PrefixCache != nil {
		r.ownCache = *in.PrefixCache == CacheOwn
		r.mark(keyPrefixCache, true)
	}
	take(&r, keyWeight, &r.weight, in.Weight)
	take(&r, keyMaxRunning, &r.maxRunning, in.MaxRunning)
	take(&r, keyMaxQueued, &r.maxQueued, in.MaxQueued)
	take(&r, keyMaxSequences, &r.maxSequences, in.MaxSequences)
	take(&r, keyMaxWait, &r.maxWait, in.MaxWait)
	take(&r, keyMaySetPriority, &r.maySetPriority, in.MaySetPriority)
	return r
}

func (r *rule) mark(k key, set bool) {
	if set {
		r.sets |= 1 << k
	}
}

func take[T any](r *rule, k key, to, from *T) {
	if from != nil {
		*to = *from
		r.mark(k, true)
	}
}

// label is the part of a bucket's key that tells whose rule it is: the rule's
// name, or what its when says in a fixed order. A long one is replaced by its hash.
func label(in *Rule) string {
	const long = 80
	if in.Name != "" {
		return in.Name
	}
	text := in.When.String()
	if len(text) <= long {
		return text
	}
	sum := sha256.Sum256([]byte(text))
	return text[:strings.IndexByte(text, '=')] + "=#" + hex.EncodeToString(sum[:8])
}
