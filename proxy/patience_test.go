package proxy

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
)

// TestPatience: X-Request-Timeout makes the wait shorter, never longer, and what is
// no time is told before anything is taken from the caller.
func TestPatience(t *testing.T) {
	t.Parallel()
	tests := []struct {
		header string
		want   time.Duration // until the deadline; 0: it is refused
	}{
		{"", time.Minute},
		{"30", 30 * time.Second},
		{" 2.5 ", 2500 * time.Millisecond},
		{"1m30s", time.Minute},
		{"45s", 45 * time.Second},
		{"100ms", 100 * time.Millisecond},
		{"1e3", time.Minute},
		{"1e300", time.Minute},
		{"3600", time.Minute},
		{"1e400", 0},
		{"0", 0},
		{"0s", 0},
		{"-5", 0},
		{"-5s", 0},
		{"-1e300", 0},
		{"NaN", 0},
		{"Inf", time.Minute},
		{"soon", 0},
		{"30 s", 0},
		{strings.Repeat("9", 400), 0},
	}
	for _, tt := range tests {
		t.Run(clip(tt.header), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				f.answers(granted(), head(200, "application/json"), data(`{}`), end(scheduler.Completed))
				answer, got := f.submit, time.Duration(0)
				f.submit = func(ctx context.Context, s *scheduler.Submission) (scheduler.Call, error) {
					got = s.Entry.Deadline.Sub(s.Entry.AcceptedAt)
					if s.Header.Get(patienceHeader) != "" {
						t.Error("the header goes to the backend")
					}
					return answer(ctx, s)
				}
				c, _ := start(t, f.server(t, Config{}))
				req, _ := http.NewRequest(http.MethodPost, "http://edge"+chatPath, strings.NewReader(chatBody))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set(patienceHeader, tt.header)
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body := readAll(t, resp.Body)
				resp.Body.Close()
				if got != tt.want {
					t.Errorf("it may wait %s, want %s: %d %s", got, tt.want, resp.StatusCode, body)
				}
				if tt.want > 0 {
					return
				}
				if code, param, message := errorOf(t, body); resp.StatusCode != 400 || code != "invalid_request" || param != patienceHeader || !strings.Contains(message, "seconds like 30") {
					t.Errorf("%d %s", resp.StatusCode, body)
				}
			})
		})
	}
}

// TestWaitHeaders: the place at arrival and the wait, of streams and of others.
func TestWaitHeaders(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body, contentType string
		steps                   []any
		position, wait          string
	}{
		{"a stream that waits", streamBody, sse, []any{at(3, time.Second), at(2, time.Second), 1500 * time.Millisecond, granted()}, "3", "1500"},
		{"a stream that does not", streamBody, sse, []any{granted()}, "0", "0"},
		{"a stream whose wait was too long to be told", streamBody, sse, []any{at(3, time.Second), 12 * time.Second, granted()}, "3", ""},
		{"an answer that waits", chatBody, "application/json", []any{at(7, time.Second), 12 * time.Second, granted()}, "7", "12000"},
		{"an answer that does not", chatBody, "application/json", []any{granted()}, "0", "0"},
		{"an answer that waits twice", chatBody, "application/json", []any{at(7, time.Second), time.Second, granted(), time.Second, at(1, time.Second), time.Second, granted()}, "7", "3000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				call := newFakeCall()
				f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
				c, _ := start(t, f.server(t, Config{QueueStatus: QueueStatus{Heartbeat: 10 * time.Second}}))
				go play(call, append(tt.steps, head(200, tt.contentType), data(chunk), end(scheduler.Completed))...)
				resp := post(t, c, chatPath, tt.body)
				readAll(t, resp.Body)
				if p, w := resp.Header.Get("X-Fairlane-Queue-Position"), resp.Header.Get("X-Fairlane-Wait-Ms"); p != tt.position || w != tt.wait {
					t.Errorf("position %q, wait %q; want %q, %q", p, w, tt.position, tt.wait)
				}
			})
		})
	}
}
