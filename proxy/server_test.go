package proxy

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

func TestChatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		var sub *scheduler.Submission
		f.answers(queued(3), granted(), head(200, "application/json"), data(`{"id":1}`), end(scheduler.Completed))
		answer := f.submit
		f.submit = func(ctx context.Context, s *scheduler.Submission) (scheduler.Call, error) {
			sub = s
			return answer(ctx, s)
		}
		f.take = func(*policy.Decision, Need) (Allowance, *scheduler.Problem) {
			return Allowance{Requests: &Level{Limit: 100, Remaining: 99, Reset: 600 * time.Millisecond}}, nil
		}
		c, _ := start(t, f.server(t, Config{}))

		req, _ := http.NewRequest(http.MethodPost, "http://edge"+chatPath, strings.NewReader(`{"model":"gpt","priority":-5,"messages":[{"role":"user","content":"hi"}],"n":2}`))
		for k, v := range map[string]string{"Content-Type": "application/json", "Authorization": "Bearer x", "Cookie": "c", "X-Request-Id": "mine", "Traceparent": "00-1-2-03"} {
			req.Header.Set(k, v)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if body := readAll(t, resp.Body); resp.StatusCode != 200 || body != `{"id":1}` {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		for k, want := range map[string]string{
			"X-Request-Id": "mine", "X-Fairlane-Class": "standard", "X-Fairlane-Queue-Position": "3", "X-Fairlane-Wait-Ms": "0", "Content-Type": "application/json",
			"X-Ratelimit-Limit-Requests": "100", "X-Ratelimit-Remaining-Requests": "99", "X-Ratelimit-Reset-Requests": "600ms", "Set-Cookie": "", "Server": "",
		} {
			if got := resp.Header.Get(k); got != want {
				t.Errorf("%s: %q, want %q", k, got, want)
			}
		}
		now := time.Now()
		want := &scheduler.Submission{
			Entry: scheduler.Entry{
				Pool: "main", Model: "org/m", Endpoint: "chat", Path: chatPath, Class: "standard", User: "user:ann", UserWeight: 1, MaxRunning: 8,
				AcceptedAt: now, Deadline: now.Add(time.Minute), Sequences: 2, InputTokens: 1, Chat: "c1",
			},
			Header: http.Header{"Content-Type": {"application/json"}, "Traceparent": {"00-1-2-03"}},
			Body:   []byte(`{"model":"org/m","messages":[{"role":"user","content":"hi"}],"n":2}`),
		}
		if diff := cmp.Diff(want, sub); diff != "" {
			t.Errorf("submission (-want +got):\n%s", diff)
		}
		synctest.Wait()
		line := f.once(t, scheduler.Completed)
		delete(line, "time")
		wantLine := map[string]any{
			"level": "INFO", "msg": "request", "request_id": "mine", "call_id": "", "user_key": "user:ann", "user_name": "Ann", "class": "standard", "pool": "main", "model": "org/m",
			"backend": "gpu:8000", "path": chatPath, "method": "POST", "client_ip": "192.0.2.1", "outcome": "completed", "status": 200.0,
			"wait_ms": 0.0, "ttft_ms": 0.0, "duration_ms": 0.0, "input_tokens": 10.0, "cached_tokens": 4.0, "output_tokens": 3.0, "sequences": 2.0, "size": "light", "cost": 12.4, "attempts": 1.0,
		}
		if diff := cmp.Diff(wantLine, line); diff != "" {
			t.Errorf("log line (-want +got):\n%s", diff)
		}
	})
}

func TestStreamIsFlushedEventByEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		call := newFakeCall()
		f.submit = func(_ context.Context, s *scheduler.Submission) (scheduler.Call, error) {
			if !s.AddedUsage || !strings.Contains(string(s.Body), `"include_usage":true`) || !s.Entry.Stream {
				t.Errorf("usage was not asked for: %s", s.Body)
			}
			return call, nil
		}
		c, _ := start(t, f.server(t, Config{QueueStatus: QueueStatus{Heartbeat: 10 * time.Second}}))
		for _, ev := range []scheduler.CallEvent{granted(), head(200, sse), data(chunk)} {
			call.events <- ev
		}
		resp := post(t, c, chatPath, streamBody)
		if resp.Header.Get("X-Accel-Buffering") != "no" || resp.Header.Get("Content-Type") != sse {
			t.Errorf("headers %v", resp.Header)
		}
		r := bufio.NewReader(resp.Body)
		for range 3 {
			if got := nextEvent(t, r); got != chunk {
				t.Errorf("got %q", got)
			}
			<-time.After(time.Second)
			call.events <- data(chunk)
		}
		call.events <- data(doneEvent)
		call.events <- end(scheduler.Completed)
		if rest := readAll(t, r); rest != chunk+doneEvent {
			t.Errorf("rest %q", rest)
		}
		synctest.Wait()
		f.once(t, scheduler.Completed)
		if n := f.counted(t, "fairlane_time_to_first_token_seconds", map[string]string{"pool": "main", "class": "standard"}); n != 1 {
			t.Errorf("%v first tokens", n)
		}
		if n := f.counted(t, "fairlane_inter_token_latency_seconds", nil); n != 3 {
			t.Errorf("%v gaps", n)
		}
	})
}

func TestHeartbeatsCommitAStreamThatWaits(t *testing.T) {
	const beat = ": keep-alive\n\n"
	errorEvent := `data: {"error":{"type":"server_error","message":"too late","param":null,"code":"queue_timeout"}}` + "\n\n"
	tests := []struct {
		name    string
		path    string
		wait    time.Duration
		events  []scheduler.CallEvent
		status  int
		body    string
		outcome scheduler.Outcome
	}{
		{"an answer in time", chatPath, 5 * time.Second, []scheduler.CallEvent{head(200, sse), data(chunk + doneEvent), end(scheduler.Completed)}, 200, chunk + doneEvent, scheduler.Completed},
		{"an answer after two beats", chatPath, 25 * time.Second, []scheduler.CallEvent{queued(1), granted(), head(200, sse), data(chunk + doneEvent), end(scheduler.Completed)}, 200, beat + beat + chunk + doneEvent, scheduler.Completed},
		{"a problem in time", chatPath, 5 * time.Second, []scheduler.CallEvent{broken(scheduler.Problemf(scheduler.CodeQueueTimeout, "too late"))}, 504, `{"error":{"type":"server_error","message":"too late","param":null,"code":"queue_timeout"}}`, scheduler.Expired},
		{"a problem after a beat", chatPath, 15 * time.Second, []scheduler.CallEvent{broken(scheduler.Problemf(scheduler.CodeQueueTimeout, "too late"))}, 200, beat + errorEvent, scheduler.Expired},
		{"a problem in the middle", chatPath, 0, []scheduler.CallEvent{head(200, sse), data(chunk), broken(scheduler.Problemf(scheduler.CodeQueueTimeout, "too late"))}, 200, chunk + errorEvent, scheduler.Expired},
		{"a problem in the middle of an event", chatPath, 0, []scheduler.CallEvent{head(200, sse), data(chunk[:9]), broken(scheduler.Problemf(scheduler.CodeQueueTimeout, "too late"))}, 200, chunk[:9] + "\n\n" + errorEvent, scheduler.Expired},
		{"the backend's 400 in time", chatPath, 5 * time.Second, []scheduler.CallEvent{head(400, "application/json"), data(`{"error":{"message":"bad"}}`), end(scheduler.Invalid)}, 400, `{"error":{"message":"bad"}}`, scheduler.Invalid},
		{
			"the backend's 400 after a beat", chatPath, 15 * time.Second,
			[]scheduler.CallEvent{head(400, "application/json"), data(`{"error":{"message":"ba`), data(`d","type":"BadRequestError","param":"n","code":400}}`), end(scheduler.Invalid)},
			200,
			beat + `data: {"error":{"type":"BadRequestError","message":"bad","param":"n","code":"400"}}` + "\n\n", scheduler.Invalid,
		},
		{
			"in Anthropic's shape", "/v1/messages", 15 * time.Second,
			[]scheduler.CallEvent{broken(scheduler.Problemf(scheduler.CodeBackendFailed, "it broke"))},
			200,
			beat + "event: error\n" + `data: {"type":"error","error":{"type":"api_error","message":"it broke","param":null,"code":"backend_failed"}}` + "\n\n", scheduler.Failed,
		},
		{
			"an answer that is lost", chatPath, 0,
			[]scheduler.CallEvent{head(200, sse), data(chunk), broken(scheduler.Problemf(scheduler.CodeAnswerLost, "it is lost"))},
			200,
			chunk + `data: {"error":{"type":"server_error","message":"it is lost","param":null,"code":"answer_lost"}}` + "\n\n", scheduler.Lost,
		},
		{"the backend's own error in the stream", chatPath, 0, []scheduler.CallEvent{head(200, sse), data("data: {\"error\":{}}\n\n" + doneEvent), end(scheduler.Failed)}, 200, "data: {\"error\":{}}\n\n" + doneEvent, scheduler.Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				call := newFakeCall()
				f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
				c, _ := start(t, f.server(t, Config{QueueStatus: QueueStatus{Heartbeat: 10 * time.Second}}))
				go func() {
					<-time.After(tt.wait)
					for _, ev := range tt.events {
						call.events <- ev
					}
				}()
				resp := post(t, c, tt.path, streamBody)
				if body := readAll(t, resp.Body); resp.StatusCode != tt.status || body != tt.body {
					t.Errorf("%d\n%s\nwant %d\n%s", resp.StatusCode, body, tt.status, tt.body)
				}
				synctest.Wait()
				f.once(t, tt.outcome)
			})
		})
	}
}

func TestNonStreamsStayUncommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		call := newFakeCall()
		f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
		c, _ := start(t, f.server(t, Config{QueueStatus: QueueStatus{Heartbeat: 10 * time.Second}}))
		go func() {
			<-time.After(time.Hour)
			call.events <- broken(scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonHold, 1500*time.Millisecond, "too long"))
		}()
		resp := post(t, c, chatPath, chatBody)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "2" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		synctest.Wait()
		line := f.once(t, scheduler.Refused)
		if line["reason"] != "hold" || line["retry_after_s"] != 2.0 {
			t.Errorf("line %v", line)
		}
		if n := f.counted(t, "fairlane_refusals_total", map[string]string{"pool": "main", "class": "standard", "reason": "hold"}); n != 1 {
			t.Errorf("%v refusals", n)
		}
	})
}

func TestLongStreamsOutliveTheTimeToWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		call := newFakeCall()
		f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
		c, _ := start(t, f.server(t, Config{}))
		go func() {
			call.events <- head(200, sse)
			for range 20 {
				call.events <- data(chunk)
				<-time.After(2 * time.Minute)
			}
			call.events <- data(doneEvent)
			call.events <- end(scheduler.Completed)
		}()
		resp := post(t, c, chatPath, streamBody)
		if got := readAll(t, resp.Body); got != strings.Repeat(chunk, 20)+doneEvent {
			t.Errorf("got %d bytes", len(got))
		}
	})
}
