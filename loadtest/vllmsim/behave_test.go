package vllmsim

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

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
