package capacity

const (
	defaultBlock = 16 // tokens; vLLM's default
	slackPart    = 0.1
)

// ledger counts the KV that running requests hold, in tokens before rho. All
// are sums over holds, but for shared: over the groups that run.
type ledger struct {
	held   int // estimates, and what groups share
	large  int // estimates of large requests
	passed int // estimates of those that passed a blocked head
	filled int // what is there by now, of requests that were prefilled
	left   int // output expected still, in tokens of all sequences
	shared int // what groups share, once for each
	groups map[uint64]groupUse
}

// groupUse is a prefix group that runs on a backend.
type groupUse struct {
	holds  int
	shared int // tokens, fixed while any of it runs
}

// move changes the sums of a hold.
func (l *ledger) move(h *Hold, est, filled, left int) {
	l.held += est - h.est
	if h.large {
		l.large += est - h.est
	}
	if h.passed {
		l.passed += est - h.est
	}
	l.filled += filled - h.filled
	l.left += left - h.left
	h.est, h.filled, h.left = est, filled, left
}

// join makes a hold a member of its prefix group.
func (b *Backend) join(a *ask) (shared int, group uint64) {
	if a.Group == 0 || !b.prefix {
		return 0, 0
	}
	g, runs := b.ledger.groups[a.Group]
	if !runs {
		g.shared = b.sharedKV(a)
		b.ledger.shared += g.shared
		b.ledger.held += g.shared
	}
	g.holds++
	b.ledger.groups[a.Group] = g
	return g.shared, a.Group
}

func (l *ledger) leave(group uint64) {
	g, runs := l.groups[group]
	if !runs {
		return
	}
	if g.holds--; g.holds > 0 {
		l.groups[group] = g
		return
	}
	l.shared -= g.shared
	l.held -= g.shared
	delete(l.groups, group)
}

// needs is what a request would hold: of its own, and for a group that does not
// run here yet.
func (b *Backend) needs(a *ask) (own, group int) {
	shared := 0
	if a.Group != 0 && b.prefix {
		g, runs := b.ledger.groups[a.Group]
		shared = g.shared
		if !runs {
			shared = b.sharedKV(a)
			group = shared
		}
	}
	return b.promptKV(&a.Demand, shared) + a.Sequences*outputKV(b.block, 0, a.Expected), group
}

// sharedKV is what a group is known to share: whole blocks, and no more than
// the prompt that starts it.
func (b *Backend) sharedKV(a *ask) int {
	s := min(a.shared, a.prompt())
	return s - s%b.block
}

// promptKV is the KV of the prompts but for their shared beginnings.
func (b *Backend) promptKV(d *Demand, shared int) int {
	return d.Sequences * blocks(b.block, max(d.prompt()-shared, 0))
}

// outputKV is the KV of one sequence's output on average over the rest of its life.
func outputKV(block, generated, expected int) int {
	return blocks(block, generated+remaining(generated, expected)/2)
}

// remaining is the output that a sequence is expected to add; one that outgrew
// its expectation is taken to go on by a quarter of it.
func remaining(generated, expected int) int {
	return max(expected-generated, (expected+3)/4)
}

// blocks rounds tokens up to whole blocks.
func blocks(block, tokens int) int { return (tokens + block - 1) / block * block }

// budget is what may be held, in tokens as they are counted; 0: no bound is known.
func (b *Backend) budget() float64 { return b.beta * float64(b.kvTokens) / b.rho }

// isLarge reports whether a request of that need is kept off the slack.
func (b *Backend) isLarge(own int) bool {
	budget := b.budget()
	return budget > 0 && float64(own) > slackPart*budget/2
}

// hasKV reports whether a request fits the budget. On a reserved backend it has
// to be small and fit into the slack.
func (b *Backend) hasKV(own, group int, reserved bool) bool {
	budget := b.budget()
	if budget <= 0 {
		return !reserved // without a budget there is no slack either
	}
	if float64(b.ledger.held+own+group) > budget {
		return false
	}
	slack := slackPart * budget
	switch {
	case reserved:
		return !b.isLarge(own+group) && float64(b.ledger.passed+own) <= slack
	case b.isLarge(own):
		return float64(b.ledger.large+own) <= budget-slack
	default:
		return true
	}
}

// everHolds reports whether the KV cache is large enough for the request's
// longest prompt, as far as that is known. What generates nothing is a list of
// inputs that the backend takes one after the other.
func everHolds(kvTokens int, d *Demand) bool {
	return kvTokens == 0 || d.Expected == 0 || d.prompt() <= kvTokens
}
