package vllmsim

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

func chatOf(rest string) request { return request{path: chatPath, body: "{" + hello + rest + "}"} }

// content is the text of a chat's first choice.
func content(t testing.TB, a answered) string {
	t.Helper()
	s, ok := at(t, a.decode(t), "choices", 0, "message", "content").(string)
	if !ok {
		t.Fatalf("no content in %s", a.body)
	}
	return s
}

// sample is the value of a metric, named with its further labels.
func sample(t testing.TB, s *Server, name string) float64 {
	t.Helper()
	want, labels, _ := strings.Cut(strings.TrimSuffix(name, "}"), "{")
	for line := range strings.Lines(request{path: "/metrics"}.on(t, s).body) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		got, _, _ := strings.Cut(series, "{")
		if got != want || !strings.Contains(series, labels) {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func wantSample(t testing.TB, s *Server, name string, want float64) {
	t.Helper()
	if got := sample(t, s, name); got != want {
		t.Errorf("%s is %g, not %g", name, got, want)
	}
}

func TestTheSameSeedSaysTheSame(t *testing.T) {
	say := func(cfg Config, rq request) (out string) {
		inBubble(t, cfg, func(b bubble) { out = content(b, rq.on(b, b.server)) })
		return out
	}
	first := say(Config{Seed: 1}, chatOf(""))
	if len(first) < 31*bytesPerToken {
		t.Errorf("an answer that nothing limits is %q", first)
	}
	for name, again := range map[string]string{
		"again":          say(Config{Seed: 1}, chatOf("")),
		"faster":         say(Config{Seed: 1, Speed: 50}, chatOf("")),
		"on another GPU": say(Config{Seed: 1, Profile: "a100"}, chatOf("")),
	} {
		if again != first {
			t.Errorf("%s it says %q, not %q", name, again, first)
		}
	}
	for name, other := range map[string]string{
		"another seed":             say(Config{Seed: 2}, chatOf("")),
		"another seed of a client": say(Config{Seed: 1}, chatOf(`,"seed":5`)),
		"another question":         say(Config{Seed: 1}, chatOf(`,"messages":[{"role":"user","content":"ho"}]`)),
	} {
		if other == first {
			t.Errorf("%s changes nothing", name)
		}
	}
}

func TestStreamedOrNotItSaysTheSame(t *testing.T) {
	inBubble(t, Config{Tools: true}, func(b bubble) {
		t, s := b.T, b.server
		whole := content(t, chatOf("").on(t, s))
		if streamed := texts(t, deltas(t, chatOf(`,"stream":true`).on(t, s)), "content"); streamed != whole {
			t.Errorf("%q\n%q", streamed, whole)
		}
	})
}

// tokensOf is the usage of an answer.
func tokensOf(t testing.TB, a answered) (prompt, completion int) {
	t.Helper()
	v := a.decode(t)
	p, _ := at(t, v, "usage", "prompt_tokens").(float64)
	c, _ := at(t, v, "usage", "completion_tokens").(float64)
	return int(p), int(c)
}

func TestWhatLimitsAnAnswer(t *testing.T) {
	inBubble(t, Config{MaxModelLen: 500}, func(b bubble) {
		t, s := b.T, b.server
		_, natural := tokensOf(t, chatOf("").on(t, s))
		for _, tt := range []struct {
			name   string
			rq     request
			tokens int
			reason string
		}{
			{"nothing", chatOf(""), natural, "stop"},
			{"max_tokens", chatOf(`,"max_tokens":3`), 3, "length"},
			{"max_completion_tokens wins", chatOf(`,"max_tokens":3,"max_completion_tokens":5`), 5, "length"},
			{"max_tokens at its natural end", chatOf(fmt.Sprintf(`,"max_tokens":%d`, natural)), natural, "stop"},
			{"the model, if it may not end", chatOf(`,"ignore_eos":true`), 490, "length"},
			{"min_tokens beyond its end", chatOf(fmt.Sprintf(`,"min_tokens":%d`, natural+7)), natural + 8, "stop"},
			{"16 in completions", request{path: completionPath, body: `{"prompt":"hi"}`}, 16, "length"},
			{"all choices", request{path: completionPath, body: `{"prompt":["hi","ho"],"n":3,"max_tokens":2}`}, 12, "length"},
		} {
			a := tt.rq.on(t, s)
			_, got := tokensOf(t, a)
			if reason := at(t, a.decode(t), "choices", 0, "finish_reason"); got != tt.tokens || reason != tt.reason {
				t.Errorf("%s: %d tokens and %v, not %d and %s", tt.name, got, reason, tt.tokens, tt.reason)
			}
		}
	})
}

func TestStopStrings(t *testing.T) {
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		whole := content(t, chatOf(`,"max_tokens":40,"ignore_eos":true`).on(t, s))
		word := whole[8:12] // the third
		for _, tt := range []struct{ rest, text string }{
			{`"stop":"` + word + `"`, whole[:8]},
			{`"stop":["nosuch","` + word + `"]`, whole[:8]},
			{`"include_stop_str_in_output":true,"stop":"` + word + `"`, whole[:12]},
			{`"stop":"` + whole[6:9] + `"`, whole[:6]},
			{`"stop":"nosuch"`, whole},
		} {
			for _, stream := range []string{"", `,"stream":true`} {
				a := chatOf(`,"max_tokens":40,"ignore_eos":true,`+tt.rest+stream).on(t, s)
				var got string
				if stream == "" {
					got = content(t, a)
				} else {
					got = texts(t, deltas(t, a), "content")
				}
				if got != tt.text {
					t.Errorf("%s%s: %q, not %q", tt.rest, stream, got, tt.text)
				}
			}
		}
		if a := chatOf(`,"max_tokens":40,"ignore_eos":true,"min_tokens":10,"stop":"`+word+`"`).on(t, s); content(t, a) == whole[:8] {
			t.Error("it stops before min_tokens")
		}
	})
}

func TestAClientThatGoesFreesItsPlaceAtOnce(t *testing.T) {
	for _, stream := range []string{"", `,"stream":true`} {
		inBubble(t, Config{MaxNumSeqs: 1}, func(b bubble) {
			t, s := b.T, b.server
			gone := make(map[string]bool)
			var mu sync.Mutex
			start := func(name string) context.CancelFunc {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					defer func() {
						mu.Lock()
						defer mu.Unlock()
						gone[name] = aborted(recover())
					}()
					chatOf(`,"ignore_eos":true`+stream).with(ctx, s)
				}()
				pass(time.Second)
				return cancel
			}
			first, second, third := start("first"), start("second"), start("third")
			wantSample(t, s, "vllm:num_requests_running", 1)
			wantSample(t, s, "vllm:num_requests_waiting", 2)
			before := time.Now()
			second()
			synctest.Wait()
			wantSample(t, s, "vllm:num_requests_waiting", 1)
			first()
			synctest.Wait()
			wantSample(t, s, "vllm:num_requests_running", 0)
			if took := time.Since(before); took != 0 {
				t.Errorf("it takes %v", took)
			}
			pass(time.Second)
			wantSample(t, s, "vllm:num_requests_running", 1)
			third()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if d := cmp.Diff(map[string]bool{"first": true, "second": true, "third": true}, gone); d != "" {
				t.Error(d)
			}
			wantSample(t, s, `vllm:request_success_total{finished_reason="abort"`, 0)
			wantSample(t, s, "vllm:kv_cache_usage_perc", 0)
		})
	}
}

func TestAFullQueueIs503(t *testing.T) {
	for _, stream := range []string{"", `,"stream":true`} {
		inBubble(t, Config{Profile: "tiny-cpu", MaxQueuedReqs: 4}, func(b bubble) {
			t, s := b.T, b.server
			answers := make([]answered, 14)
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() { answers[i] = chatOf(`,"max_tokens":5`+stream).on(t, s) })
			}
			all.Wait()
			refused := 0
			for _, a := range answers {
				if a.status != http.StatusServiceUnavailable {
					continue
				}
				refused++
				want := `{"error":{"message":"The engine is currently busy and cannot accept new requests. ` +
					`Please try again later or on a different instance.","type":"Service Unavailable","param":null,"code":503}}`
				if a.body != want || a.header.Get("Content-Type") != "application/json" || a.header.Get("Retry-After") != "" {
					t.Errorf("%v %s", a.header, a.body)
				}
			}
			if refused != 10 {
				t.Errorf("%d of 14 are refused, not 10", refused)
			}
			wantSample(t, s, `vllm:admission_rejections_total{reason="max_num_queued_reqs"`, 10)
			if a := chatOf(`,"n":5,"max_tokens":1`).on(t, s); a.status != http.StatusServiceUnavailable {
				t.Errorf("five choices with a bound of four: %d", a.status)
			}
			if a := chatOf(`,"n":4,"max_tokens":1`).on(t, s); a.status != http.StatusOK {
				t.Errorf("four choices with a bound of four: %d", a.status)
			}
		})
	}
}

func TestABacklogOfPromptsIs503(t *testing.T) {
	inBubble(t, Config{MaxNumSeqs: 1, MaxQueuedTokens: 5}, func(b bubble) {
		t, s := b.T, b.server
		var all sync.WaitGroup
		for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusServiceUnavailable} { // runs, waits, is refused
			all.Go(func() {
				a := chatOf(`,"max_tokens":5`).on(t, s)
				if a.status != want || want != http.StatusOK && !strings.Contains(a.body, "prefill token backlog") {
					t.Errorf("%d: %d %s", i, a.status, a.body)
				}
			})
			pass(time.Millisecond)
		}
		all.Wait()
		wantSample(t, s, `vllm:admission_rejections_total{reason="max_num_queued_tokens"`, 1)
	})
}

func TestAFullCachePreemptsAndLosesNothing(t *testing.T) {
	rq := func(i int) request {
		return request{path: completionPath, body: fmt.Sprintf(`{"prompt":"%d","max_tokens":200,"ignore_eos":true}`, i)}
	}
	run := func(blocks int) (texts []string, preemptions float64) {
		inBubble(t, Config{KVBlocks: blocks, MaxModelLen: 300}, func(b bubble) {
			t, s := b.T, b.server
			texts = make([]string, 4)
			var all sync.WaitGroup
			for i := range texts {
				all.Go(func() { texts[i], _ = at(t, rq(i).on(t, s).decode(t), "choices", 0, "text").(string) })
			}
			all.Wait()
			preemptions = sample(t, s, "vllm:num_preemptions_total")
			wantSample(t, s, "vllm:generation_tokens_total", 800)
		})
		return texts, preemptions
	}
	free, none := run(1000)
	tight, some := run(30)
	if none != 0 || some == 0 {
		t.Errorf("%g preemptions with room, %g without", none, some)
	}
	if d := cmp.Diff(free, tight); d != "" {
		t.Error(d)
	}
}

func TestItsQueueGoesByPriority(t *testing.T) {
	for _, tt := range []struct {
		scheduling string
		want       []string
	}{
		{"fcfs", []string{"5", "1", "header", "-3"}},
		{"priority", []string{"header", "-3", "1", "5"}},
	} {
		inBubble(t, Config{MaxNumSeqs: 1, Scheduling: tt.scheduling}, func(b bubble) {
			t, s := b.T, b.server
			var order []string
			var mu sync.Mutex
			var all sync.WaitGroup
			send := func(name string, rq request) {
				all.Go(func() {
					rq.on(t, s)
					mu.Lock()
					defer mu.Unlock()
					order = append(order, name)
				})
				pass(100 * time.Millisecond)
			}
			send("runs", chatOf(`,"max_tokens":300,"ignore_eos":true`))
			for _, p := range []string{"5", "1"} {
				send(p, chatOf(`,"max_tokens":2,"priority":`+p))
			}
			rq := chatOf(`,"max_tokens":2,"priority":9`)
			rq.header = map[string]string{"X-Vllm-Priority": "-9"}
			send("header", rq)
			send("-3", chatOf(`,"max_tokens":2,"priority":-3`))
			all.Wait()
			if d := cmp.Diff(append([]string{"runs"}, tt.want...), order); d != "" {
				t.Errorf("%s: %s", tt.scheduling, d)
			}
		})
	}
}

func TestAPromptThatIsKnownIsCached(t *testing.T) {
	long := `{"prompt":"` + strings.Repeat("word", 100) + `","max_tokens":1%s}`
	details := func(t *testing.T, s *Server, more string) any {
		t.Helper()
		return at(t, request{path: completionPath, body: fmt.Sprintf(long, more)}.on(t, s).decode(t), "usage", "prompt_tokens_details")
	}
	inBubble(t, Config{PromptTokensDetails: true}, func(b bubble) {
		t, s := b.T, b.server
		for i, tt := range []struct {
			more string
			want float64
		}{{"", 0}, {"", 96}, {`,"cache_salt":"a"`, 0}, {`,"cache_salt":"a"`, 96}, {`,"cache_salt":"b"`, 0}} {
			if got := at(t, details(t, s, tt.more), "cached_tokens"); got != tt.want {
				t.Errorf("%d: %v of 100 tokens are cached, not %g", i, got, tt.want)
			}
		}
		wantSample(t, s, "vllm:prefix_cache_hits_total", 192)
		wantSample(t, s, "vllm:prefix_cache_queries_total", 500)
	})
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		if got := details(t, s, ""); got != nil {
			t.Errorf("details without the flag: %v", got)
		}
	})
}

func TestTimeIsTheModels(t *testing.T) {
	// The API's 4.7 ms, the prefill of 10 tokens, two steps of one sequence with 11
	// and 12 tokens of context.
	want := 4700*time.Microsecond + (7050*time.Microsecond + 10*19500*time.Nanosecond) +
		2*(7050*time.Microsecond+25400*time.Nanosecond) + 23*47*time.Nanosecond
	for _, speed := range []int{1, 2, 10} {
		inBubble(t, Config{Speed: float64(speed)}, func(b bubble) {
			t, s := b.T, b.server
			began := time.Now()
			chatOf(`,"max_tokens":3`).on(t, s)
			took := time.Since(began)
			if d := took - want/time.Duration(speed); d < -time.Microsecond || d > time.Microsecond {
				t.Errorf("at speed %d it takes %v, not %v", speed, took, want/time.Duration(speed))
			}
		})
	}
}

func TestAKeyGuardsWhatVLLMGuards(t *testing.T) {
	inBubble(t, Config{APIKey: "secret", Everything: true}, func(b bubble) {
		t, s := b.T, b.server
		for _, tt := range []struct {
			rq   request
			open bool
		}{
			{request{path: "/v1/models"}, false},
			{request{path: "/v1/nosuch"}, false},
			{request{path: "/v2/rerank", body: "{}"}, false},
			{request{path: "/health"}, true},
			{request{path: "/metrics"}, true},
			{request{path: "/tokenize", body: "{}"}, true},
			{request{path: "/rerank", body: "{}"}, true},
			{request{path: "/nosuch"}, true},
			{request{method: "OPTIONS", path: chatPath}, true},
		} {
			for header, name := range map[string]string{
				"": "Authorization", "Bearer wrong": "Authorization", "bearer secret": "Authorization", "BEARER secret": "Authorization", "secret": "X-Api-Key",
			} {
				rq := tt.rq
				rq.header = map[string]string{name: header}
				a := rq.on(t, s)
				refused := a.status == http.StatusUnauthorized
				if want := !tt.open && !strings.HasSuffix(strings.ToLower(header), "r secret"); refused != want {
					t.Errorf("%s with %s %q: %d", rq.path, name, header, a.status)
				}
				if refused && a.body != `{"error":"Unauthorized"}` {
					t.Error(a.body)
				}
			}
		}
	})
}

func TestIdentifiersAreTheClients(t *testing.T) {
	inBubble(t, Config{Everything: true}, func(b bubble) {
		t, s := b.T, b.server
		for _, tt := range []struct{ path, body, want string }{
			{chatPath, "{" + hello + `,"max_tokens":1}`, "chatcmpl-mine"},
			{completionPath, `{"prompt":"a"}`, "cmpl-mine"},
			{"/v1/messages", "{" + hello + `,"max_tokens":1,"model":"emulated"}`, "chatcmpl-mine"},
			{"/v1/embeddings", `{"input":"a"}`, "embd-mine"},
			{"/v1/rerank", `{"query":"a","documents":["b"]}`, "score-mine"},
		} {
			a := request{path: tt.path, body: tt.body, header: map[string]string{"X-Request-Id": "mine"}}.on(t, s)
			if got := a.decode(t)["id"]; got != tt.want {
				t.Errorf("%s: %v, not %s", tt.path, got, tt.want)
			}
			if a.header.Get("X-Request-Id") != "" {
				t.Error("the id is echoed")
			}
		}
		a := chatOf(`,"max_tokens":1,"request_id":"body"`).on(t, s)
		if got := a.decode(t)["id"]; got != "chatcmpl-body" {
			t.Errorf("%v", got)
		}
	})
}

func TestAConfigurationThatMakesNoSense(t *testing.T) {
	for name, cfg := range map[string]Config{
		"a GPU that nobody knows": {Profile: "nosuch"},
		"time that goes back":     {Speed: -1},
		"an order of its own":     {Scheduling: "lifo"},
		"a negative bound":        {MaxQueuedReqs: -1},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheTokenThatEndsAnAnswerIsToldButHasNoText(t *testing.T) {
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		a := chatOf(`,"return_token_ids":true,"logprobs":true`).on(t, s)
		ids, _ := at(t, a.decode(t), "choices", 0, "token_ids").([]any)
		if text := content(t, a); len(text) != (len(ids)-1)*bytesPerToken || ids[len(ids)-1] != float64(tokenEnd) {
			t.Errorf("%d bytes of %d tokens, the last is %v", len(text), len(ids), ids[len(ids)-1])
		}
		probs, _ := at(t, a.decode(t), "choices", 0, "logprobs", "content").([]any)
		if len(probs) != len(ids) || at(t, probs, len(probs)-1, "token") != "<|im_end|>" {
			t.Errorf("the last of %d log probabilities is of %v", len(probs), probs[len(probs)-1])
		}
		cut := chatOf(`,"return_token_ids":true,"max_tokens":5`).on(t, s).decode(t)
		ids, _ = at(t, cut, "choices", 0, "token_ids").([]any)
		if len(ids) != 5 || ids[4] == float64(tokenEnd) {
			t.Errorf("%v", ids)
		}
	})
}
