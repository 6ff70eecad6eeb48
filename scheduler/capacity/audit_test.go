package capacity

import (
	"errors"
	"fmt"
)

// audit checks what must hold between the sums of a pool, whatever happened.
func (p *Pool) audit() error {
	for _, b := range p.backends {
		if err := b.audit(); err != nil {
			return fmt.Errorf("%s: %w", b.url, err)
		}
	}
	if b := p.head.backend; p.head.blocked && (b == nil || b.draining) {
		return errors.New("a blocked head without a backend to wait for")
	}
	return nil
}

func (b *Backend) audit() error {
	groups, members := 0, 0
	for id, g := range b.ledger.groups {
		if g.holds <= 0 || g.shared < 0 {
			return fmt.Errorf("group %d: %+v", id, g)
		}
		groups += g.shared
		members += g.holds
	}
	l := &b.ledger
	switch {
	case groups != l.shared:
		return fmt.Errorf("groups share %d, counted %d", groups, l.shared)
	case members > b.running:
		return fmt.Errorf("%d members of groups, %d sequences", members, b.running)
	case min(l.held, l.large, l.passed, l.filled, l.left, b.running, b.alone, b.prefill.pending) < 0:
		return fmt.Errorf("a sum is negative: %+v, running %d, alone %d, prefill %d", l, b.running, b.alone, b.prefill.pending)
	case b.running == 0 && (l.held != 0 || l.large != 0 || l.passed != 0 || l.filled != 0 || l.left != 0 || b.alone != 0 || b.prefill.pending != 0):
		return fmt.Errorf("nothing runs, but %+v, alone %d, prefill %d", l, b.alone, b.prefill.pending)
	case b.running == 0 && b.prefill.first != nil:
		return errors.New("nothing runs, but the row is not empty")
	case b.rho < leastRho || b.rho > mostRho:
		return fmt.Errorf("rho %v", b.rho)
	case !b.fixed && (b.slots < 1 || b.slots > mostSlots):
		return fmt.Errorf("%d learned slots", b.slots)
	case b.prefill.rate < leastRate || b.prefill.rate > mostRate:
		return fmt.Errorf("prefill rate %v", b.prefill.rate)
	case (b.prefill.first == nil) != (b.prefill.last == nil):
		return errors.New("the row has one end")
	}
	return nil
}
