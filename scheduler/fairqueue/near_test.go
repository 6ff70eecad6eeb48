package fairqueue

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// TestYieldIsBounded lets every head yield to whoever is near and wants to go
// first, as often as they like. However they choose, users who always have work
// stay within one charge and Q of each other, and the clock stays at the smallest
// V of those that stay.
func TestYieldIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, err := New(Config{Depth: 1})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		push := func(user string) {
			n++
			q.Push(&Request{ID: strconv.Itoa(n), Sequences: 1, Estimate: 100 * Token}, []Step{{Key: user, Weight: 1}}, User{Key: user})
		}
		users := rapid.IntRange(2, 30).Draw(t, "users")
		for i := range users {
			push(strconv.Itoa(i))
			push(strconv.Itoa(i))
		}
		var most, mean int64
		for range rapid.IntRange(10, 200).Draw(t, "dispatches") {
			reserve := Cost(rapid.IntRange(1, 500).Draw(t, "cost")) * Token
			least := q.root.ready.e[0].v
			r := q.Dispatch(func(_ *Request, passes bool) Decision {
				switch {
				case !passes:
					return Decision{Verdict: Yield, Reserve: reserve}
				case rapid.Bool().Draw(t, "goes first"):
					return Decision{Verdict: Take, Reserve: reserve}
				default:
					return Decision{Verdict: Stop}
				}
			})
			if r == nil {
				t.Fatal("nobody starts, and the head could")
			}
			user := r.flow.key
			most, mean = max(most, span(reserve, r.flow.weight)), max(mean, q.mean.span())
			if q.root.vnow != least {
				t.Fatalf("the clock is at %d, the smallest V was %d", q.root.vnow, least)
			}
			q.Settle(r, reserve)
			push(user)
			if spread := spreadOf(q); spread > most+mean {
				t.Fatalf("users are %d apart, the largest charge is %d and Q %d", spread, most, mean)
			}
		}
	})
}

// spreadOf is how far the users are apart.
func spreadOf(q *Queue) int64 {
	least, largest := q.root.ready.e[0].v, int64(0)
	for _, e := range q.root.ready.e {
		largest = max(largest, e.v)
	}
	return largest - least
}
