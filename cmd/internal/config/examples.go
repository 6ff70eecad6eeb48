package config

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
)

// anybodyKey is the key of somebody of whom nothing is known.
const anybodyKey = "user:example"

// maxExamples bounds the people of one list in a rule.
const maxExamples = 20

// example is somebody who might ask, and what they ask for.
type example struct {
	rule  string // that names them; empty: none does
	label string
	id    identity.Identity
	query policy.Query
}

// examples are somebody of whom nothing is known but who they are, somebody
// anonymous, everybody whom a rule names, and the holders of keys.
func (c *Config) examples() []example {
	out := []example{c.person("somebody known")}
	if c.Identity.Anonymous == identity.AnonymousAllow {
		e := c.person("somebody anonymous")
		e.id = identity.Identity{Anonymous: true, AuthType: identity.AuthAnonymous, UserKey: "ip:192.0.2.1", Addr: netip.MustParseAddr("192.0.2.1")}
		out = append(out, e)
	}
	for i := range c.Policy.Rules {
		out = append(out, c.named(i, c.Policy.Rules[i].When)...)
	}
	for i := range min(len(c.Identity.APIKeys), maxExamples) {
		out = append(out, c.holder(&c.Identity.APIKeys[i]))
	}
	return out
}

func (c *Config) person(label string) example {
	e := example{label: label}
	e.id = identity.Identity{UserKey: anybodyKey, ID: "example", AuthType: identity.AuthJWT, Verified: true, Addr: netip.MustParseAddr("192.0.2.1")}
	e.query = policy.Query{Endpoint: openai.Chat, Sequences: 1}
	if len(c.Pools) > 0 {
		e.query.Pool = c.Pools[0].Name
	}
	return e
}

// holder is who comes with a key of the key file.
func (c *Config) holder(k *identity.Key) example {
	e := c.person("key " + k.ID)
	e.id.KeyID, e.id.AuthType = k.ID, identity.AuthAPIKey
	e.id.ID, e.id.Email, e.id.Roles, e.id.Groups = k.User, strings.ToLower(k.Email), k.Roles, k.Groups
	e.id.UserKey = "key:" + k.ID
	if k.User != "" {
		e.id.UserKey = "user:" + k.User
		if e.id.Email == "" && strings.Contains(k.User, "@") {
			e.id.Email = strings.ToLower(k.User)
		}
	}
	if k.Forwarder {
		e.label += ", a forwarder, without anybody's name"
		e.id.Forwarder, e.id.Nobody = true, true
	}
	return e
}

// named are the people of one rule: of each list the first member, and of the
// first list that has several all of them.
func (c *Config) named(rule int, w policy.When) []example {
	variants := []policy.When{firsts(&w)}
	for _, list := range lists(&w) {
		if len(*list) < 2 {
			continue
		}
		variants = nil
		all := *list
		for _, value := range all[:min(len(all), maxExamples)] {
			*list = []string{value}
			variants = append(variants, firsts(&w))
		}
		*list = all
		break
	}
	var out []example
	for _, v := range variants {
		if v.String() == "*" {
			continue // somebody known is one
		}
		e := c.person(v.String())
		e.rule = "policy[" + strconv.Itoa(rule) + "] "
		e.become(&v)
		out = append(out, e)
	}
	return out
}

func lists(w *policy.When) []*[]string {
	return []*[]string{&w.User, &w.Email, &w.Key, &w.Role, &w.Group, &w.Model, &w.Endpoint, &w.Task, &w.AuthType, &w.IP}
}

// firsts is w with the first value of each list.
func firsts(w *policy.When) policy.When {
	out := *w
	for _, list := range lists(&out) {
		if len(*list) > 1 {
			*list = (*list)[:1:1]
		}
	}
	return out
}

// become makes e somebody to whom w, which has one value in each list at most,
// applies.
func (e *example) become(w *policy.When) {
	if w.Anonymous != nil && *w.Anonymous {
		e.id = identity.Identity{Anonymous: true, AuthType: identity.AuthAnonymous, UserKey: "ip:192.0.2.1", Addr: e.id.Addr}
	}
	one := func(list []string, set func(string)) {
		if len(list) > 0 {
			set(list[0])
		}
	}
	one(w.User, func(v string) {
		e.id.ID, e.id.UserKey = v, "user:"+v
		if strings.Contains(v, "@") {
			e.id.Email = strings.ToLower(v)
			e.id.UserKey = "user:" + e.id.Email
		}
	})
	one(w.Email, func(v string) { e.id.Email, e.id.UserKey = strings.ToLower(v), "user:"+strings.ToLower(v) })
	one(w.Key, func(v string) { e.id.KeyID, e.id.UserKey, e.id.AuthType = v, "key:"+v, identity.AuthAPIKey })
	one(w.Role, func(v string) { e.id.Roles = []string{v} })
	one(w.Group, func(v string) { e.id.Groups = []string{v} })
	one(w.Model, func(v string) { e.query.Model = v })
	one(w.Endpoint, func(v string) { e.query.Endpoint = openai.Endpoint(v) })
	one(w.Task, func(v string) { e.id.Task = v })
	one(w.AuthType, func(v string) { e.id.AuthType = identity.AuthType(v) })
	one(w.IP, func(v string) {
		if p, err := network().parse(v); err == nil {
			e.id.Addr = p.Addr()
		}
	})
}

// describeExamples prints what becomes of everybody; those of one rule who get the
// same stand together.
func (c *Config) describeExamples(out *printer, p *policy.Policy) {
	all := c.examples()
	for len(all) > 0 {
		first, whys := all[0], all[0].decide(p)
		labels := []string{printable(first.label)}
		all = all[1:]
		for first.rule != "" && len(all) > 0 && all[0].rule == first.rule && slices.Equal(all[0].decide(p), whys) {
			labels = append(labels, printable(all[0].label))
			all = all[1:]
		}
		out.line("\n  " + first.rule + strings.Join(labels, "; "))
		if first.rule != "" && !slices.ContainsFunc(whys, func(w policy.Why) bool { return strings.HasPrefix(w.From+" ", first.rule) }) {
			out.line("    Nothing of this rule shows here: rules above it set the same, or something else bounds it.")
		}
		out.table(func(t io.Writer) {
			for _, why := range whys {
				fmt.Fprintf(t, "    %s\t%s\t%s\n", why.Key, text().text(why.Value), printable(why.From))
			}
		})
	}
}

func (e *example) decide(p *policy.Policy) []policy.Why {
	d, _ := p.Decide(&e.id, &e.query)
	return d.Why()
}
