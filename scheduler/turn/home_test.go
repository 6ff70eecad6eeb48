package turn

import (
	"testing"
	"time"

	"fairlane/scheduler"
	"fairlane/scheduler/capacity"
	"fairlane/scheduler/fairqueue"
)

// waiting is a request of a test.
type waiting struct {
	fairqueue.Request

	e scheduler.Entry
}

// Entry implements Owner.
func (w *waiting) Entry() *scheduler.Entry { return &w.e }

// TestConversationsGoHome: with two backends of one slot a head whose conversation
// lives on the one that is taken lets somebody near it, who is at home on the free
// one, go first; with nobody near it goes astray rather than wait.
func TestConversationsGoHome(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	backends := func(anywhere bool) capacity.Config {
		return capacity.Config{Anywhere: anywhere, Backends: []capacity.BackendConfig{{URL: "http://a", Slots: 1}, {URL: "http://b", Slots: 1}}}
	}
	for anywhere, want := range map[bool][3]string{false: {"http://b bob", "http://a ann", ""}, true: {"http://b ann", "http://a bob", ""}} {
		d, err := New(Config{Backends: backends(anywhere)})
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range d.Pool.Backends() {
			b.Up(now)
		}
		push := func(user, chat string) *waiting {
			w := &waiting{e: scheduler.Entry{
				ID: user + chat, Class: "std", User: user, Chat: chat, Endpoint: "chat", Stream: true,
				AcceptedAt: now, Sequences: 1, InputTokens: 100, MaxTokens: 100,
			}}
			d.Push(&w.Request, w)
			return w
		}
		next := func() (Turn, string) {
			turn := d.Next(now)
			if turn.Request == nil {
				return turn, ""
			}
			return turn, turn.Run.Backend.URL() + " " + turn.Request.Value.(*waiting).e.User
		}
		end := func(x Turn) {
			x.Run.Hold.Release(now, true)
			d.Queue.Settle(x.Request, 300*fairqueue.Token)
			d.running["std"]--
		}
		push("ann", "one")
		push("bob", "two")
		first, got1 := next()
		second, got2 := next()
		if got1 != "http://a ann" || got2 != "http://b bob" {
			t.Fatalf("to begin with %s, %s", got1, got2)
		}
		end(second)
		push("ann", "one")
		push("bob", "two")
		third, got := next()
		if got != want[0] {
			t.Errorf("anywhere %v: %s, want %s", anywhere, got, want[0])
		}
		end(first)
		if _, got = next(); got != want[1] {
			t.Errorf("anywhere %v: %s, want %s", anywhere, got, want[1])
		}
		end(third)
		push("carol", "three")
		if _, got = next(); got != "http://b carol" {
			t.Errorf("somebody new: %s", got)
		}
	}
}
