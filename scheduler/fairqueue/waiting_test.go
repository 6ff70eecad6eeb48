package fairqueue

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWaiting lists what waits of one user, in the order in which each leaf's go.
func TestWaiting(t *testing.T) {
	q, err := New(Config{Depth: 2})
	if err != nil {
		t.Fatal(err)
	}
	push := func(id, class, user string, at int64, priority int) {
		r := &Request{ID: id, AcceptedAt: time.Unix(at, 0), Priority: priority}
		q.Push(r, []Step{{class, 1}, {user, 1}}, User{Key: user})
	}
	push("c", "high", "ann", 3, 0)
	push("d", "high", "ann", 1, 5)
	push("a", "high", "ann", 1, 0)
	push("x", "high", "bob", 0, 0)
	push("b", "high", "ann", 2, 0)
	push("e", "low", "ann", 0, 0)
	ids := func(user string, most int) (out []string) {
		for _, r := range q.Waiting(user, most) {
			out = append(out, r.ID)
		}
		return out
	}
	if got := ids("ann", 10); !cmp.Equal(got, []string{"a", "b", "c", "d", "e"}) {
		t.Errorf("all: %v", got)
	}
	if got := ids("ann", 2); !cmp.Equal(got, []string{"a", "b", "e"}) {
		t.Errorf("two of each leaf: %v", got)
	}
	if got := ids("nobody", 2); got != nil {
		t.Errorf("nobody has %v", got)
	}
}
