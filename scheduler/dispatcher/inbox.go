package dispatcher

import "context"

// inboxSize is how much may wait until who says something has to.
const inboxSize = 4096

// post hands f to the leader's goroutine, unless the term is over.
func (l *leader) post(f func()) {
	select {
	case l.inbox <- f:
	case <-l.done:
	}
}

// ask posts f and waits until it ran; false: it did not, and won't matter. While the
// lease is in doubt nobody is kept, for another one may lead.
func (l *leader) ask(ctx context.Context, f func()) bool {
	if !l.cfg.Lease.Valid() {
		return false
	}
	ran := make(chan struct{})
	select {
	case l.inbox <- func() { f(); close(ran) }:
	case <-l.done:
		return false
	case <-ctx.Done():
		return false
	}
	select {
	case <-ran:
		return true
	case <-l.done:
		return false
	case <-ctx.Done():
		return false
	}
}

// drainInbox takes what is there already, so that one pass over the queue
// serves all of it.
func (l *leader) drainInbox() {
	for range inboxSize {
		if !l.cfg.Lease.Valid() {
			return
		}
		select {
		case f := <-l.inbox:
			f()
		default:
			return
		}
	}
}
