package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// TestWhatIsGivenBack plays the ends of a request: what ran is paid for, unless it
// came to nothing by a fault of ours.
func TestWhatIsGivenBack(t *testing.T) {
	failed, late := scheduler.Problemf(scheduler.CodeBackendFailed, "failed"), scheduler.Problemf(scheduler.CodeBackendTimeout, "late")
	const reserved = 1 + 800
	whole := strings.Replace(chatBody, `"gpt"`, `"gpt","max_tokens":800`, 1)
	stream := strings.Replace(streamBody, `"gpt"`, `"gpt","max_tokens":800`, 1)
	two := strings.Replace(whole, `"gpt"`, `"gpt","n":2`, 1)
	tests := []struct {
		name, body string
		events     []scheduler.CallEvent
		leaves     time.Duration // after so long; 0: not
		used       int64
	}{
		{"completed", stream, []scheduler.CallEvent{granted(), head(200, sse), data(chunk), end(scheduler.Completed)}, 0, 9},
		{"left while it waited", stream, []scheduler.CallEvent{queued(3)}, time.Second, 0},
		{"refused by the queue", stream, []scheduler.CallEvent{broken(scheduler.Refusal(scheduler.CodeQueueLimit, scheduler.ReasonUserQueue, time.Second, "full"))}, 0, 0},
		{"expired", stream, []scheduler.CallEvent{queued(3), broken(scheduler.Problemf(scheduler.CodeQueueTimeout, "late"))}, 0, 0},
		{"left before the first byte", stream, []scheduler.CallEvent{granted()}, time.Second, 1},
		{"left in the answer", stream, []scheduler.CallEvent{granted(), head(200, sse), data(chunk), data(chunk)}, time.Second, 3},
		{"left in an answer that came in few pieces", stream, []scheduler.CallEvent{granted(), head(200, sse), data(strings.Repeat(chunk, 500)), data(chunk + doneEvent)}, time.Second, 502},
		{"left before a whole answer", whole, []scheduler.CallEvent{granted()}, time.Second, reserved},
		{"left before two whole answers", two, []scheduler.CallEvent{granted()}, time.Second, 1 + 1600},
		{"left after it was granted and waited again", whole, []scheduler.CallEvent{granted(), queued(1)}, time.Second, 0},
		{"failed", stream, []scheduler.CallEvent{granted(), broken(failed)}, 0, 0},
		{"failed as a whole", whole, []scheduler.CallEvent{granted(), broken(failed)}, 0, 0},
		{"took too long as a whole", whole, []scheduler.CallEvent{granted(), broken(late)}, 0, reserved},
		{"failed, and the scheduler knows", stream, []scheduler.CallEvent{granted(), {Kind: scheduler.CallProblem, Problem: failed, End: &scheduler.End{Outcome: scheduler.Failed}}}, 0, 0},
		{"broke off", stream, []scheduler.CallEvent{granted(), head(200, sse), data(chunk), broken(failed)}, 0, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, left := newMetered(t)
				f.answers(tt.events...)
				f.asks(t, f.server(t, Config{}), tt.body, tt.leaves)
				f.log.one(t) // it has ended
				if got := left(); got != tt.used {
					t.Errorf("%d tokens were used, want %d", got, tt.used)
				}
			})
		})
	}
}

// TestWhoLeavesPaysForTheTimeThatItRan has answers that are longer than those that the
// person is known for, of whose tokens each takes a hundredth of a second.
func TestWhoLeavesPaysForTheTimeThatItRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, left := newMetered(t)
		s := f.server(t, Config{})
		f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) {
			c := newFakeCall(granted())
			time.AfterFunc(time.Second, func() {
				whole := end(scheduler.Completed)
				whole.End.Usage = scheduler.Usage{Known: true, Output: 100}
				c.events <- head(200, "application/json")
				c.events <- data("{}")
				c.events <- whole
			})
			return c, nil
		}
		for range 100 {
			f.asks(t, s, chatBody, 0)
		}
		f.answers(granted())
		for _, tt := range []struct {
			body  string
			after time.Duration
			most  int64
		}{
			{strings.Replace(chatBody, `"gpt"`, `"gpt","n":2`, 1), 20 * time.Second, 4001},
			{strings.Replace(chatBody, `"gpt"`, `"gpt","max_tokens":500`, 1), 20 * time.Second, 501},
		} {
			before := left()
			f.asks(t, s, tt.body, tt.after)
			if used := left() - before; used != tt.most {
				t.Errorf("%s left after %v used %d tokens, want %d", tt.body, tt.after, used, tt.most)
			}
			if line := f.log.requests()[len(f.log.requests())-1]; line["output_tokens"] != float64(tt.most-1) {
				t.Errorf("the log says %v", line["output_tokens"])
			}
		}
	})
}

// torn is a connection that its client has left: nothing more can be written.
type torn struct{ *httptest.ResponseRecorder }

func (torn) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestWhoDoesNotReadPaysForWhatWaited for them.
func TestWhoDoesNotReadPaysForWhatWaited(t *testing.T) {
	whole := end(scheduler.Completed)
	whole.End.Usage = scheduler.Usage{Input: 10, Output: 500, Known: true}
	slow := broken(scheduler.Problemf(scheduler.CodeOverloaded, "read too slowly"))
	for name, tt := range map[string]struct {
		last []scheduler.CallEvent
		used int64
	}{
		"what came":              {nil, 1 + 1 + 100},
		"its usage, if it is in": {[]scheduler.CallEvent{whole}, 510},
	} {
		f, used := newMetered(t)
		f.answers(append([]scheduler.CallEvent{granted(), head(200, sse), data(chunk), data(strings.Repeat(chunk, 100))}, tt.last...)...)
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, chatPath, strings.NewReader(streamBody))
		req.Header.Set("Content-Type", "application/json")
		f.server(t, Config{}).Handler().ServeHTTP(torn{httptest.NewRecorder()}, req)
		if got := used(); got != tt.used {
			t.Errorf("%s: %d tokens were used, want %d", name, got, tt.used)
		}
		if line := f.log.one(t); line["outcome"] != "cancelled" {
			t.Errorf("%s: %v", name, line["outcome"])
		}
	}
	f, used := newMetered(t)
	f.answers(granted(), head(200, sse), data(chunk), slow)
	if ask(f.server(t, Config{}), http.MethodPost, chatPath, streamBody); used() != 1+1000 {
		t.Errorf("who was cut off used %d tokens", used())
	}
}

// newMetered is an edge with a bucket of tokens; used says how much of it is gone.
func newMetered(t *testing.T) (f *fakes, used func() int64) {
	t.Helper()
	const all = 1_000_000
	f = newFakes()
	l := newTestLimiter(limit.NewMemory(limit.MemoryConfig{Now: func() time.Time { return time.Unix(1_800_000_000, 0) }}))
	d := buckets(t, policy.Tokens, ann, "1000000/30 days")
	f.decide = func(*identity.Identity, *policy.Query) (*policy.Decision, *scheduler.Problem) { return d, nil }
	f.take = func(d *policy.Decision, n Need) (Allowance, *scheduler.Problem) {
		return l.Take(context.Background(), d, n)
	}
	return f, func() int64 {
		return all - l.Look(t.Context(), d)[0][0].Remaining
	}
}

// asks sends a request in a bubble, and leaves after a time, if one is given.
func (f *fakes) asks(t *testing.T, s *Server, body string, leaves time.Duration) {
	t.Helper()
	ctx := t.Context()
	if leaves > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, leaves)
		defer cancel()
	}
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, chatPath, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	s.Handler().ServeHTTP(httptest.NewRecorder(), req)
}
