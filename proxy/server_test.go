package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/identity"
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

func TestAnswerCutOffIsNotTakenForWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.answers(head(200, "application/json"), data(`{"a":`), broken(scheduler.Problemf(scheduler.CodeBackendFailed, "it broke")))
		c, _ := start(t, f.server(t, Config{}))
		resp, err := c.Post("http://edge"+chatPath, "application/json", strings.NewReader(chatBody))
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil {
			t.Error("the client took it for whole")
		}
		synctest.Wait()
		f.once(t, scheduler.Failed)
	})
}

func TestClientLeaves(t *testing.T) {
	for name, body := range map[string]string{"stream": streamBody, "no stream": chatBody} {
		for when, events := range map[string][]scheduler.CallEvent{"waiting": {queued(1)}, "running": {granted()}} {
			t.Run(name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					f := newFakes()
					call := newFakeCall()
					for _, ev := range events {
						call.events <- ev
					}
					f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
					c, _ := start(t, f.server(t, Config{QueueStatus: QueueStatus{Heartbeat: time.Hour}}))
					ctx, cancel := context.WithCancel(t.Context())
					req, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://edge"+chatPath, strings.NewReader(body))
					req.Header.Set("Content-Type", "application/json")
					go func() {
						if resp, err := c.Do(req); err == nil {
							resp.Body.Close()
						}
					}()
					synctest.Wait()
					cancel()
					synctest.Wait() // no time passes
					select {
					case <-call.cancelled:
					default:
						t.Fatal("the call goes on")
					}
					if line := f.once(t, scheduler.Cancelled); line["status"] != 499.0 {
						t.Errorf("status %v", line["status"])
					}
				})
			})
		}
	}
}

func TestEarlyEnds(t *testing.T) {
	big := `{"model":"gpt","messages":[{"role":"user","content":"` + strings.Repeat("x", 2000) + `"}]}`
	tests := []struct {
		name               string
		method, path, body string
		header             map[string]string
		change             func(*fakes)
		status             int
		code, param, says  string
		outcome            scheduler.Outcome
		headers            map[string]string
	}{
		{name: "unknown path", path: "/v1/fine_tuning", status: 404, code: "not_found", outcome: scheduler.Invalid},
		{name: "trailing slash", path: chatPath + "/", status: 404, code: "not_found", outcome: scheduler.Invalid},
		{name: "double slash", path: "/" + chatPath, status: 404, code: "not_found", outcome: scheduler.Invalid},
		{name: "never exposed", path: "/invocations", status: 404, code: "not_found", outcome: scheduler.Invalid},
		{name: "dots", path: "/v1/models/../../metrics", method: "GET", status: 404, code: "not_found", outcome: scheduler.Invalid},
		{name: "method", method: "GET", path: chatPath, status: 405, code: "method_not_allowed", outcome: scheduler.Invalid, headers: map[string]string{"Allow": "POST, OPTIONS"}},
		{name: "method of models", method: "POST", path: "/v1/models", status: 405, code: "method_not_allowed", outcome: scheduler.Invalid, headers: map[string]string{"Allow": "GET, HEAD, OPTIONS"}},
		{name: "bad key", change: func(f *fakes) {
			f.identify = func(*http.Request) (*identity.Identity, *scheduler.Problem) {
				return nil, &scheduler.Problem{Code: scheduler.CodeInvalidAPIKey, Reason: "unknown_key", Message: "no such key"}
			}
		}, status: 401, code: "invalid_api_key", says: "no such key", outcome: scheduler.Invalid, headers: map[string]string{"Www-Authenticate": "Bearer"}},
		{name: "no JSON", body: `{"messages":`, status: 400, code: "invalid_request", param: "messages", outcome: scheduler.Invalid},
		{name: "wrong type", body: `{"messages":[],"stream":1}`, status: 400, code: "invalid_request", param: "stream", outcome: scheduler.Invalid},
		{name: "content type", header: map[string]string{"Content-Type": "text/plain"}, status: 400, code: "invalid_request", says: "application/json", outcome: scheduler.Invalid},
		{name: "compressed", header: map[string]string{"Content-Encoding": "gzip"}, status: 400, code: "invalid_request", says: "compressed", outcome: scheduler.Invalid},
		{name: "too large", body: big, status: 413, code: "body_too_large", outcome: scheduler.Invalid},
		{name: "unknown model", body: `{"model":"x","messages":[]}`, status: 404, code: "model_not_found", param: "model", says: "`gpt`, `org/m`", outcome: scheduler.Invalid},
		{name: "many sequences", change: func(f *fakes) {
			f.decide = func(*identity.Identity, *policy.Query) (*policy.Decision, *scheduler.Problem) {
				return &policy.Decision{Class: "vip"}, scheduler.Problemf(scheduler.CodeRequestTooLarge, "too many")
			}
		}, status: 400, code: "request_too_large", outcome: scheduler.Invalid, headers: map[string]string{"X-Fairlane-Class": "vip"}},
		{name: "rate limit", change: func(f *fakes) {
			f.take = func(*policy.Decision, Need) (Allowance, *scheduler.Problem) {
				return Allowance{Tokens: &Level{Limit: 5, Remaining: -1, Reset: time.Minute}}, scheduler.Refusal(scheduler.CodeRateLimit, scheduler.ReasonRequests, 2500*time.Millisecond, "slow down")
			}
		}, status: 429, code: "rate_limit_exceeded", outcome: scheduler.Refused, headers: map[string]string{"Retry-After": "3", "X-Ratelimit-Limit-Tokens": "5", "X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Reset-Tokens": "1m0s"}},
		{name: "queue bound", change: func(f *fakes) {
			f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) {
				return nil, &scheduler.Problem{Code: scheduler.CodeQueueLimit, Reason: scheduler.ReasonUserQueue, RetryAfter: 90 * time.Second, NoRetry: true, Message: "yours are too many"}
			}
		}, status: 429, code: "queue_limit_exceeded", outcome: scheduler.Refused, headers: map[string]string{"Retry-After": "90", "X-Should-Retry": "false"}},
		{name: "expired", change: func(f *fakes) { f.answers(broken(scheduler.Problemf(scheduler.CodeQueueTimeout, "too late"))) }, status: 504, code: "queue_timeout", outcome: scheduler.Expired, headers: map[string]string{"X-Should-Retry": "false"}},
		{name: "no backend", change: func(f *fakes) { f.answers(broken(scheduler.Problemf(scheduler.CodeNoBackend, "none"))) }, status: 503, code: "no_backend", outcome: scheduler.Refused, headers: map[string]string{"Retry-After": "1"}},
		{name: "backend failed", change: func(f *fakes) {
			f.answers(granted(), head(200, "application/json"), broken(scheduler.Problemf(scheduler.CodeBackendFailed, "it broke")))
		}, status: 502, code: "backend_failed", outcome: scheduler.Failed},
		{name: "a strange error", change: func(f *fakes) {
			f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return nil, errors.New("secret") }
		}, status: 500, code: "internal_error", outcome: scheduler.Failed},
		{name: "a panic", change: func(f *fakes) {
			f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { panic("secret") }
		}, status: 500, code: "internal_error", says: "request id", outcome: scheduler.Failed},
		{name: "nothing learned yet, two pools", change: func(f *fakes) { f.catalog = NewCatalog([]Offer{{Pool: "a", Learning: true}, {Pool: "b"}}) }, status: 503, code: "no_backend", outcome: scheduler.Refused, headers: map[string]string{"Retry-After": "5"}},
		{name: "memory", header: map[string]string{}, body: `{"model":"gpt","messages":[{"content":"` + strings.Repeat("x", 900) + `"}]}`, change: func(f *fakes) { f.submit = nil }, status: 503, code: "overloaded", outcome: scheduler.Refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				f.answers(head(200, "application/json"), end(scheduler.Completed))
				if tt.change != nil {
					tt.change(f)
				}
				s := f.server(t, Config{MaxBody: 1000, MaxBytes: 1000})
				if tt.name == "memory" {
					s.held.take(500)
				}
				c, _ := start(t, s)
				method, path, body := "POST", chatPath, chatBody
				if tt.method != "" {
					method = tt.method
				}
				if tt.path != "" {
					path = tt.path
				}
				if tt.body != "" {
					body = tt.body
				}
				req, _ := http.NewRequest(method, "http://edge"+path, strings.NewReader(body))
				req.Header.Set("Content-Type", "application/json")
				for k, v := range tt.header {
					req.Header.Set(k, v)
				}
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				got := readAll(t, resp.Body)
				code, param, message := errorOf(t, got)
				if resp.StatusCode != tt.status || code != tt.code || param != tt.param || !strings.Contains(message, tt.says) || strings.Contains(got, "secret") {
					t.Errorf("%d %s", resp.StatusCode, got)
				}
				if resp.Header.Get("Content-Type") != "application/json" {
					t.Errorf("content type %q", resp.Header.Get("Content-Type"))
				}
				for k, want := range tt.headers {
					if v := resp.Header.Get(k); v != want {
						t.Errorf("%s: %q, want %q", k, v, want)
					}
				}
				synctest.Wait()
				f.once(t, tt.outcome)
				if held := s.held.held.Load(); tt.name != "memory" && held != 0 {
					t.Errorf("%d bytes are still held", held)
				}
			})
		})
	}
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

func TestWhoReadsNothingIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		call := newFakeCall()
		f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
		_, m := start(t, f.server(t, Config{}))
		call.events <- head(200, sse)
		call.events <- data(chunk)
		conn, err := m.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go io.WriteString(conn, "POST "+chatPath+" HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(streamBody))+"\r\n\r\n"+streamBody)
		<-time.After(writeWait + time.Second)
		synctest.Wait()
		select {
		case <-call.cancelled:
		default:
			t.Error("the call goes on")
		}
		f.once(t, scheduler.Cancelled)
	})
}

func TestWhoLeavesIsChargedWhatWasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		call := newFakeCall()
		for _, ev := range []scheduler.CallEvent{granted(), head(200, sse), data(chunk), data(chunk)} {
			call.events <- ev
		}
		var settled []scheduler.Usage
		f.take = takeAll(func(u scheduler.Usage) { settled = append(settled, u) })
		f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
		c, _ := start(t, f.server(t, Config{}))
		resp := post(t, c, chatPath, strings.Replace(streamBody, "hi", strings.Repeat("word", 10), 1))
		synctest.Wait()
		resp.Body.Close()
		synctest.Wait()
		if diff := cmp.Diff([]scheduler.Usage{{Input: 10, Output: 2}}, settled); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if line := f.once(t, scheduler.Cancelled); line["output_tokens"] != 2.0 {
			t.Errorf("line %v", line)
		}
	})
}
