package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
)

// named is somebody of whom the file alone tells the class and the own weight.
type named struct {
	label  string
	weight float64
}

// inversions warns of a class whose weight says more than the people have of it whom
// rules and keys name: one of them is entitled to less than one of a lighter class.
// Who else will come is known only while it runs.
func (c *Config) inversions(r *reader) {
	p, err := policy.New(c.Policy)
	if err != nil { // said already
		return
	}
	people := c.people(p)
	names := slices.Sorted(maps.Keys(people))
	for _, heavy := range names {
		for _, light := range names {
			if c.Policy.Classes[heavy].Weight <= c.Policy.Classes[light].Weight || c.tierOf(heavy) != c.tierOf(light) {
				continue
			}
			if what := c.inverted(heavy, light, people); what != "" {
				r.warn("classes."+heavy+".weight", what)
			}
		}
	}
}

// inverted says how one of the heavier class is entitled to less than one of the
// lighter, or nothing.
func (c *Config) inverted(heavy, light string, people map[string]map[string]named) string {
	if c.Share[0] == "class" {
		h, all := c.part(heavy, people)
		l, few := c.part(light, people)
		if h >= l {
			return ""
		}
		return fmt.Sprintf("with all at work whom rules and keys name, one of %s, which %d share, is entitled to less than one of the lighter %s, which %d share (%s to %s)",
			heavy, all, light, few, short(h), short(l))
	}
	low := slices.MinFunc(slices.Collect(maps.Values(people[heavy])), byWeight)
	high := slices.MaxFunc(slices.Collect(maps.Values(people[light])), byWeight)
	l, h := c.Policy.Classes[heavy].Weight*low.weight, c.Policy.Classes[light].Weight*high.weight
	if l >= h {
		return ""
	}
	return fmt.Sprintf("%s in %s is entitled to less than %s in the lighter %s, for a user's weight is the class's times its own (%s to %s)",
		low.label, heavy, high.label, light, short(l), short(h))
}

// part is the weight of the class that each of those who are named has of it, and how
// many they are.
func (c *Config) part(class string, people map[string]map[string]named) (each float64, n int) {
	sum := 0.0
	for _, who := range people[class] {
		sum += who.weight
	}
	return c.Policy.Classes[class].Weight / sum, len(people[class])
}

func byWeight(a, b named) int {
	switch {
	case a.weight < b.weight, a.weight == b.weight && a.label < b.label:
		return -1
	case a == b:
		return 0
	default:
		return 1
	}
}

func short(x float64) string { return strconv.FormatFloat(x, 'g', 3, 64) }

// people are those whom rules and keys name, by class and user. With one share for all
// classes those count too of whom a rule only says what they are.
func (c *Config) people(p *policy.Policy) map[string]map[string]named {
	out := map[string]map[string]named{}
	for _, e := range c.examples() {
		anybody := e.id.UserKey == anybodyKey || e.id.Anonymous
		if e.id.Nobody || e.id.Task != "" || e.query.Endpoint != openai.Chat || anybody && c.Share[0] == "class" {
			continue
		}
		d, problem := p.Decide(&e.id, &e.query)
		if problem != nil {
			continue
		}
		if out[d.Class] == nil {
			out[d.Class] = map[string]named{}
		}
		key := e.id.UserKey
		if anybody {
			key = e.label
		}
		out[d.Class][key] = named{e.label, d.UserWeight}
	}
	return out
}
