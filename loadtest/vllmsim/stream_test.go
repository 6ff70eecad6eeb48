package vllmsim

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestHeadersComeBeforeTheFirstToken(t *testing.T) {
	inBubble(t, Config{MaxNumSeqs: 1}, func(b bubble) {
		t, s := b.T, b.server
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		recs := []*httptest.ResponseRecorder{httptest.NewRecorder(), httptest.NewRecorder()}
		for _, rec := range recs {
			go func() {
				defer func() { _ = recover() }() // the client goes in the end
				s.Handler().ServeHTTP(rec, chatOf(`,"ignore_eos":true,"stream":true`).make(ctx))
			}()
			pass(time.Second)
		}
		synctest.Wait()
		waiting := recs[1]
		if !waiting.Flushed || waiting.Code != http.StatusOK || waiting.Body.Len() != 0 {
			t.Errorf("in the queue: flushed %v, %d, %q", waiting.Flushed, waiting.Code, waiting.Body.String())
		}
		cancel()
		synctest.Wait()
	})
}

// deltas are the events of a chat's stream, decoded.
func deltas(t *testing.T, a answered) []map[string]any {
	t.Helper()
	var out []map[string]any
	for _, e := range a.events(t) {
		if e.data == "[DONE]" {
			continue
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(e.data), &v); err != nil {
			t.Fatal(err)
		}
		out = append(out, v)
	}
	return out
}

func TestAStreamTellsEveryTokenAndItsUsage(t *testing.T) {
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		chunks := deltas(t, chatOf(`,"max_tokens":5,"ignore_eos":true,"stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true}`).on(t, s))
		var counts []float64
		fingerprints := 0
		for _, c := range chunks {
			n, _ := at(t, c, "usage", "completion_tokens").(float64)
			counts = append(counts, n)
			if c["system_fingerprint"] != nil {
				fingerprints++
			}
		}
		// The role, five tokens, the usage.
		if d := cmp.Diff([]float64{0, 1, 2, 3, 4, 5, 5}, counts); d != "" {
			t.Error(d)
		}
		if last := chunks[len(chunks)-1]; fingerprints != 1 || last["system_fingerprint"] == nil || len(last["choices"].([]any)) != 0 {
			t.Errorf("%d fingerprints, the last chunk is %v", fingerprints, last)
		}
	})
}

func TestChoicesInterleave(t *testing.T) {
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		a := request{path: completionPath, body: `{"prompt":["a","b"],"n":2,"max_tokens":3,"ignore_eos":true,"stream":true}`}.on(t, s)
		var order []float64
		ends := 0
		for _, c := range deltas(t, a) {
			i, _ := at(t, c, "choices", 0, "index").(float64)
			order = append(order, i)
			if at(t, c, "choices", 0, "finish_reason") != nil {
				ends++
			}
		}
		if d := cmp.Diff([]float64{0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}, order); d != "" || ends != 4 {
			t.Errorf("%d ends: %s", ends, d)
		}
		if strings.Count(a.body, "[DONE]") != 1 {
			t.Error("there is not one [DONE]")
		}
	})
}

// slowWriter takes its time for every write.
type slowWriter struct {
	*httptest.ResponseRecorder
	each time.Duration
}

func (w slowWriter) Write(p []byte) (int, error) {
	pass(w.each)
	return w.ResponseRecorder.Write(p)
}

func TestASlowReaderFindsSeveralTokensInOneEvent(t *testing.T) {
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		fast := chatOf(`,"max_tokens":100,"ignore_eos":true,"stream":true`)
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(slowWriter{rec, 50 * time.Millisecond}, fast.make(t.Context()))
		slow := answered{rec.Code, rec.Header(), rec.Body.String()}
		a, late := deltas(t, fast.on(t, s)), deltas(t, slow)
		if len(a) != 101 || len(late) > 20 || len(late) < 10 {
			t.Errorf("%d events for a fast reader, %d for a slow one", len(a), len(late))
		}
		if texts(t, a, "content") != texts(t, late, "content") {
			t.Error("they read something else")
		}
	})
}

// names are the events of a stream in order, equal neighbours once.
func eventNames(t *testing.T, a answered) []string {
	t.Helper()
	var out []string
	for _, e := range a.events(t) {
		name := e.name
		if name == "" {
			name = e.data
		}
		out = append(out, name)
	}
	return slices.Compact(out)
}

const strictTool = `"parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city"]}`

func TestTheEventsOfTheOtherAPIs(t *testing.T) {
	for _, tt := range []struct {
		name string
		rq   request
		want []string
	}{
		{
			"messages",
			request{path: "/v1/messages", body: "{" + hello + `,"model":"emulated","max_tokens":5,"stream":true}`},
			[]string{"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"},
		},
		{
			"messages, a tool",
			request{path: "/v1/messages", body: "{" + hello + `,"model":"emulated","max_tokens":500,"stream":true,` +
				`"tool_choice":{"type":"any"},"tools":[{"name":"weather","input_schema":{"type":"object"}}]}`},
			[]string{"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"},
		},
		{
			"responses",
			request{path: "/v1/responses", body: `{"input":"hi","max_output_tokens":5,"stream":true}`},
			[]string{
				"response.created", "response.in_progress", "response.output_item.added", "response.content_part.added",
				"response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done",
				"response.completed",
			},
		},
		{
			"responses, a tool",
			request{path: "/v1/responses", body: `{"input":"hi","stream":true,"tool_choice":"required",` +
				`"tools":[{"type":"function","name":"weather",` + strictTool + `}]}`},
			[]string{
				"response.created", "response.in_progress", "response.output_item.added", "response.function_call_arguments.delta",
				"response.function_call_arguments.done", "response.output_item.done", "response.completed",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, Config{Tools: true}, func(b bubble) {
				t, s := b.T, b.server
				a := tt.rq.on(t, s)
				if d := cmp.Diff(tt.want, eventNames(t, a)); d != "" {
					t.Error(d)
				}
				deltas(t, a) // they are JSON
			})
		})
	}
}

func TestToolsAreCalled(t *testing.T) {
	tool := `,"tools":[{"type":"function","function":{"name":"weather",` + strictTool + `}}]`
	ask := `,"messages":[{"role":"user","content":"what is the weather?"}]`
	for _, tt := range []struct {
		name, rest, reason string
		called             bool
	}{
		{"auto, named by the user", tool + ask, "tool_calls", true},
		{"auto, not named", tool, "stop", false},
		{"none", tool + ask + `,"tool_choice":"none"`, "stop", false},
		{"required", tool + `,"tool_choice":"required"`, "tool_calls", true},
		{"by name", tool + `,"tool_choice":{"type":"function","function":{"name":"weather"}}`, "stop", true},
		{"required, but cut", tool + `,"tool_choice":"required","max_tokens":9`, "length", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, Config{Tools: true}, func(b bubble) {
				t, s := b.T, b.server
				choice := at(t, chatOf(tt.rest).on(t, s).decode(t), "choices", 0)
				calls, _ := at(t, choice, "message", "tool_calls").([]any)
				if got := at(t, choice, "finish_reason"); got != tt.reason || (len(calls) == 1) != tt.called {
					t.Fatalf("%v: %v", got, choice)
				}
				streamed := deltas(t, chatOf(tt.rest+`,"stream":true`).on(t, s))
				args := texts(t, streamed, "tool_calls", 0, "function", "arguments")
				if got := at(t, streamed[len(streamed)-1], "choices", 0, "finish_reason"); got != tt.reason {
					t.Errorf("streamed: %v", got)
				}
				if !tt.called {
					return
				}
				whole, _ := at(t, calls, 0, "function", "arguments").(string)
				var v struct {
					City *string
					Days *int
				}
				if err := json.Unmarshal([]byte(whole), &v); err != nil || v.City == nil || v.Days == nil || args != whole {
					t.Errorf("%v: %s, streamed %s", err, whole, args)
				}
			})
		})
	}
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		if a := chatOf(tool).on(t, s); a.status != http.StatusBadRequest || !strings.Contains(a.body, "--enable-auto-tool-choice") {
			t.Errorf("auto without a parser: %d %s", a.status, a.body)
		}
	})
}
