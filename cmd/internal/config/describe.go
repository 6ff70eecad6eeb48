package config

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
)

// Describe prints what every key resolved to, and what the rules make of the
// people whom they name. No secret is among it.
func (c *Config) Describe(w io.Writer) error {
	out := &printer{w: w}
	out.line("Settings; * is set in the file, the others have their default.\n")
	out.table(func(t io.Writer) {
		for _, s := range c.settings {
			star := " "
			if s.given {
				star = "*"
			}
			fmt.Fprintf(t, "%s %s\t%s\n", star, s.path, s.text())
		}
	})
	c.describeNotes(out)
	p, err := policy.New(c.Policy)
	if err != nil {
		return err
	}
	out.line("\nRules, top to bottom; each key is taken from the first rule that matches and sets it.\n")
	out.table(func(t io.Writer) {
		for i := range c.Policy.Rules {
			r := &c.Policy.Rules[i]
			fmt.Fprintf(t, "  policy[%d]\t%s\t%s\n", i, printable(ruleName(r)), sets(r))
		}
		built := policy.BuiltIn()
		fmt.Fprintf(t, "  built in\t*\t%s\n", sets(&built))
	})
	out.line("\nWhat they make of people, for a chat unless it says otherwise.")
	c.describeExamples(out, p)
	return out.err
}

// describeNotes says what follows from several settings together.
func (c *Config) describeNotes(out *printer) {
	out.line("")
	served := func(p Pool) bool { return len(p.Backends) > 0 }
	for _, p := range c.Pools {
		switch {
		case served(p):
		case slices.ContainsFunc(c.Pools, served):
			out.line("The pool " + p.Name + " has no backend: its requests wait until there is one.")
		default:
			out.line("The pool " + p.Name + " has no backend, as no other has: an emulated vLLM answers in the first.")
		}
	}
	switch n := len(c.Identity.APIKeys); {
	case c.Identity.Open():
		out.line("Open mode: there is neither a key file nor an issuer, so nobody is verified, and forwarded names are taken on trust.")
	case c.Identity.KeyFile:
		out.line(fmt.Sprintf("The key file holds %d keys.", n))
	}
	c.describeGaps(out)
	for _, warning := range c.Warnings {
		out.line("Warning: " + warning)
	}
}

// describeGaps says whom a list of rules leaves out that the default list, which it
// replaces, looks after.
func (c *Config) describeGaps(out *printer) {
	some := func(asks func(*policy.When) bool) bool {
		return slices.ContainsFunc(c.Policy.Rules, func(r policy.Rule) bool { return asks(&r.When) })
	}
	if !some(func(w *policy.When) bool { return len(w.Task) > 0 }) {
		out.line("No rule asks for a task, so the titles and tags of Open WebUI are served as their person's own requests; " +
			"a list of rules replaces the default one, which has them in the class background.")
	}
	if c.Identity.Anonymous == identity.AnonymousAllow && !some(asksForAnonymous) {
		out.line("No rule asks for anonymous, so who has no name is served as who has one; " +
			"a list of rules replaces the default one, which has {when: {anonymous: true}, class: background}.")
	}
}

func asksForAnonymous(w *policy.When) bool {
	return w.Anonymous != nil && *w.Anonymous || slices.Contains(w.AuthType, string(identity.AuthAnonymous))
}

func ruleName(r *policy.Rule) string {
	if r.Name != "" {
		return r.Name + " (" + r.When.String() + ")"
	}
	return r.When.String()
}

// sets is what a rule sets, as it is written.
func sets(r *policy.Rule) string {
	var parts []string
	add := func(key, value string) { parts = append(parts, key+" "+value) }
	addIf(add, "class", r.Class)
	addIf(add, "weight", r.Weight)
	if r.Limits != nil {
		add("limits", text().text(r.Limits.Text))
	}
	if r.Tokens != nil {
		add("tokens", text().text(r.Tokens.Text))
	}
	if r.Sizes != nil {
		parts = append(parts, "sizes")
	}
	addIf(add, "max_running", r.MaxRunning)
	addIf(add, "max_queued", r.MaxQueued)
	addIf(add, "max_sequences", r.MaxSequences)
	if r.MaxWait != nil {
		add("max_wait", showDuration(*r.MaxWait))
	}
	addIf(add, "may_set_priority", r.MaySetPriority)
	if r.AllowFields != nil {
		add("allow_fields", text().list(r.AllowFields))
	}
	addIf(add, "prefix_cache", r.PrefixCache)
	if r.Shared {
		parts = append(parts, "shared")
	}
	if r.Follow != nil {
		add("limits_follow_load", fmt.Sprintf("from %v to %v", r.Follow.From, r.Follow.To))
	}
	return strings.Join(parts, ", ")
}

func addIf[T any](add func(string, string), key string, v *T) {
	if v != nil {
		add(key, fmt.Sprint(*v))
	}
}

// printer keeps the first error, so that whoever prints need not ask each time.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(s string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, s)
	}
}

// table aligns columns that fill separates by tabs.
func (p *printer) table(fill func(io.Writer)) {
	if p.err != nil {
		return
	}
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fill(t)
	if p.err = t.Flush(); p.err != nil {
		return
	}
	for line := range strings.SplitAfterSeq(text.String(), "\n") {
		if line = strings.TrimRight(line, " \n"); line != "" {
			p.line(line)
		}
	}
}
