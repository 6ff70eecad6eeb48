package policy

import (
	"math/bits"
	"strings"

	"fairlane/proxy/identity"
	"fairlane/scheduler"
)

// subject is what conditions are checked against.
type subject struct {
	id     *identity.Identity
	q      *Query
	person string // the user key without `user:`; empty: no person
	task   string
}

// Decide says what a request gets. There is always a decision; beside it, a
// problem if the request becomes more sequences than its caller may ask for at
// once. It is safe for concurrent use.
func (p *Policy) Decide(id *identity.Identity, q *Query) (*Decision, *scheduler.Problem) {
	s := subject{id: id, q: q, task: id.Task}
	if person, ok := strings.CutPrefix(id.UserKey, "user:"); ok {
		s.person = person
	}
	if id.Forwarder && !id.TaskTold && s.task == "" && q.TaskPrompt != "" {
		s.task = GuessTask(q.TaskPrompt)
	}
	d := &Decision{policy: p, Task: s.task, guessed: s.task != id.Task, aside: s.aside()}
	p.walk(&s, d)
	p.fill(d, q)
	if d.nobody = id.Nobody; d.nobody {
		d.MaxRunning, d.MaxQueued = 0, 0
	} else {
		p.buckets(d, id.UserKey, q)
	}
	return d, d.check(q)
}

// walk notes for each key the first rule that matches and sets it.
func (p *Policy) walk(s *subject, d *Decision) {
	missing := uint16(allKeys)
	for i := range p.rules {
		r := &p.rules[i]
		news := r.sets & missing
		if !r.builtIn && !r.says(d.aside) {
			news &^= d.aside.keys() // which are of questions
		}
		if news == 0 || !r.matches(s) {
			continue
		}
		missing &^= news
		for ; news != 0; news &= news - 1 {
			d.from[bits.TrailingZeros16(news)] = int16(i)
		}
		if missing == 0 {
			return
		}
	}
}

// by is the rule that gives a key.
func (p *Policy) by(d *Decision, k key) *rule {
	r := &p.rules[d.from[k]]
	if r.builtIn && d.aside.keys()&(1<<k) != 0 {
		return &p.asides[d.aside]
	}
	return r
}

func (p *Policy) fill(d *Decision, q *Query) {
	class := p.by(d, keyClass).class
	d.Class, d.ClassWeight, d.EngineRank = class.name, class.Weight, class.rank
	d.MaxWait = class.MaxWait
	if wait := p.by(d, keyMaxWait).maxWait; wait > 0 {
		d.MaxWait = wait
	}
	d.UserWeight = p.by(d, keyWeight).weight
	d.MaxRunning = p.by(d, keyMaxRunning).maxRunning
	d.MaxQueued = p.by(d, keyMaxQueued).maxQueued
	d.MaxSequences = p.by(d, keyMaxSequences).maxSequences
	if slots := p.maxSlots[q.Pool]; slots > 0 {
		d.MaxSequences = min(d.MaxSequences, slots)
	}
	if d.MaySetPriority = p.by(d, keyMaySetPriority).maySetPriority; d.MaySetPriority {
		d.Priority = q.Priority
	}
	d.AllowFields = p.by(d, keyAllowFields).allowFields
	d.OwnCache = p.by(d, keyPrefixCache).ownCache
	if (d.Task == "" || d.guessed) && q.Endpoint.Generates() && !q.Endpoint.Audio() {
		d.Size = p.by(d, keySizes).sizes.of(q)
	}
}

// of is the heaviest size that matches.
func (s *sizes) of(q *Query) string {
	tokens := q.MaxTokens
	if tokens == 0 {
		tokens = q.ExpectedTokens
	}
	switch {
	case s.Heavy.matches(q.InputChars, tokens):
		return SizeHeavy
	case s.Medium.matches(q.InputChars, tokens):
		return SizeMedium
	default:
		return SizeLight
	}
}

// row is the limits of a size and the scope of their buckets.
func (s *sizes) row(size string) (*graded, string) {
	i := 0
	switch size {
	case SizeHeavy:
		i = 2
	case SizeMedium:
		i = 1
	default:
	}
	return &s.limits[i], s.scopes[i]
}

func (p *Policy) buckets(d *Decision, user string, q *Query) {
	d.Buckets = d.store[:0]
	r := p.by(d, keyLimits)
	d.add(r.limits.bucket(q.Load), Requests, r.requestScope, r.owner(user))
	if d.aside == passing {
		return
	}
	r = p.by(d, keyTokens)
	d.add(r.tokens.bucket(q.Load), Tokens, r.tokenScope, r.owner(user))
	if d.Size != "" {
		r = p.by(d, keySizes)
		limits, scope := r.sizes.row(d.Size)
		if d.guessed {
			scope = guessedScope + scope
		}
		d.add(limits.bucket(q.Load), BySize, scope, r.owner(user))
	}
}

// guessedScope parts the sizes of tasks that are told by their prompt from those of
// questions: a chat whose texts are long has tasks that are, too.
const guessedScope = "task "

func (r *rule) owner(user string) string {
	if r.shared {
		return ""
	}
	return user
}

// add takes a bucket that has limits.
func (d *Decision) add(b Bucket, kind BucketKind, scope, owner string) {
	if len(b.Limits) > 0 {
		b.Kind, b.Scope, b.Owner = kind, scope, owner
		d.Buckets = append(d.Buckets, b)
	}
}

func (d *Decision) check(q *Query) *scheduler.Problem {
	if q.Sequences <= d.MaxSequences {
		return nil
	}
	problem := scheduler.Problemf(scheduler.CodeRequestTooLarge,
		"this request makes %d answers at once, and %d is the most you may ask for: lower n, or send fewer prompts in one request", q.Sequences, d.MaxSequences)
	problem.Param = "n"
	return problem
}
