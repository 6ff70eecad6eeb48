package proxy

import (
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
