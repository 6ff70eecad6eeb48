package turn

import (
	"fmt"
	"testing"

	"fairlane/scheduler"
)

// TestWhatIsLearnedIsBounded: people without end, each with a prompt of their own, take
// no more room than so many, and who asks last is known.
func TestWhatIsLearnedIsBounded(t *testing.T) {
	s := newEstimates()
	const people = 2*mostKept + 10
	for n := range people {
		user := fmt.Sprint("ip:", n)
		of(s.users, user).add(500)
		of(s.cached, cacheKey{user, uint64(n + 1)}).add(0.5)
	}
	if len(s.users) != mostKept || len(s.cached) != mostKept {
		t.Errorf("%d people and %d prompts are kept, want %d", len(s.users), len(s.cached), mostKept)
	}
	last := scheduler.Entry{User: fmt.Sprint("ip:", people-1), Endpoint: "chat"}
	if got := s.output(&last); got != 500 {
		t.Errorf("%d tokens are expected of who asked last", got)
	}
}
