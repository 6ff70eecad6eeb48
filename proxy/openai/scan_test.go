package openai

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const jsonType = "application/json"

func TestScan(t *testing.T) {
	tests := []struct {
		name string
		e    Endpoint
		body string
		want Request
	}{
		{
			"a chat", Chat, `{"model":"m","messages":[{"role":"user","content":"hällo"}],"stream":true,"max_tokens":5,"max_completion_tokens":7}`,
			Request{Model: "m", Stream: true, MaxTokens: 7, Sequences: 1, InputChars: 5, InputBytes: 6},
		},
		{
			"escapes", Chat, `{"messages":[{"content":"a\n\u00e4\u4e2d\ud83d\ude00\"","role":"user"}]}`,
			Request{Sequences: 1, InputChars: 6, InputBytes: 1 + 1 + 2 + 3 + 4 + 1},
		},
		{
			"usage was asked for", Chat, `{"messages":[],"stream":true,"stream_options":{"include_usage":true}}`,
			Request{Stream: true, IncludeUsage: true, Sequences: 1},
		},
		{
			"nulls are as good as nothing", Chat, `{"model":null,"messages":[{"role":"assistant","content":null}],"stream":null,"stream_options":null,"n":null,"max_tokens":null,"tools":null}`,
			Request{Sequences: 1},
		},
		{
			"parts, images, tool calls", Chat, `{"messages":[{"role":"user","content":[{"type":"text","text":"ab"},{"type":"image_url","image_url":{"url":"data:xxxxxxxx"}}]},{"role":"assistant","tool_calls":[{"x":1}]},{"role":"tool","content":"cd"}],"n":3}`,
			Request{Sequences: 3, InputChars: 4, InputBytes: 4 + len(`[{"x":1}]`), Images: 1},
		},
		{
			"what tools were called with is text", Chat,
			`{"messages":[{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"q\":\"ä\"}"}}]},{"role":"assistant","function_call":{"name":"g","arguments":"12"}}]}`,
			Request{Sequences: 1, InputChars: 9 + 2, InputBytes: len(`[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"q\":\"ä\"}"}}]{"name":"g","arguments":"12"}`)},
		},
		{"and an object", Messages, `{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","input":{"q":"ä"}}]}]}`, Request{Sequences: 1, InputChars: 9, InputBytes: 10}},
		{"and an item", Responses, `{"input":[{"type":"function_call","arguments":"{}"}]}`, Request{Sequences: 1, InputChars: 2, InputBytes: 4}},
		{"documents", Chat, `{"messages":[],"documents":[{"title":"t","text":"abc"}]}`, Request{Sequences: 1, InputChars: 3, InputBytes: 3}},
		{"at least so many", Chat, `{"messages":[],"min_tokens":9}`, Request{Sequences: 1, MinTokens: 9}},
		{"max_tokens 0 still makes one", Chat, `{"messages":[],"max_tokens":0}`, Request{Sequences: 1, MaxTokens: 1}},
		{
			"a task", Chat, `{"messages":[{"role":"user","content":"### Task:\nMake a title."}],"priority":-3}`,
			Request{Sequences: 1, InputChars: 23, InputBytes: 23, TaskPrompt: "### Task:\nMake a title.", Priority: -3},
		},
		{
			"no task, for it streams", Chat, `{"stream":true,"messages":[{"role":"user","content":"### Task:\nMake a title."}]}`,
			Request{Stream: true, Sequences: 1, InputChars: 23, InputBytes: 23},
		},
		{
			"a batch", ChatBatch, `{"messages":[[{"role":"user","content":"a"}],[{"role":"user","content":"b"}]],"stream":true}`,
			Request{Sequences: 2, InputChars: 2, InputBytes: 2},
		},
		{"completions", Completions, `{"prompt":["a","bc"],"n":2,"best_of":3}`, Request{Sequences: 6, InputChars: 3, InputBytes: 3, MaxTokens: 16}},
		{"token ids", Completions, `{"prompt":[1,2,3],"max_tokens":4}`, Request{Sequences: 1, InputTokens: 3, MaxTokens: 4}},
		{"lists of token ids", Completions, `{"prompt":[[1,2],[3]]}`, Request{Sequences: 2, InputTokens: 3, MaxTokens: 16}},
		{"no prompt is one sequence", Completions, `{"prompt":[]}`, Request{Sequences: 1, MaxTokens: 16}},
		{"prompts of two fields add up", Completions, `{"prompt":["a","b","c"],"prompt_embeds":[],"n":2}`, Request{Sequences: 6, InputChars: 3, InputBytes: 3, MaxTokens: 16}},
		{"prompts of two fields add up, the other way round", Completions, `{"prompt_embeds":["QQ==","QQ=="],"prompt":"abc"}`, Request{Sequences: 3, InputChars: 11, InputBytes: 11, MaxTokens: 16}},
		{"an embedding beside token ids", Completions, `{"prompt_embeds":"QQ==","prompt":[1,2]}`, Request{Sequences: 2, InputChars: 4, InputBytes: 4, InputTokens: 2, MaxTokens: 16}},
		{"embeddings alone", Completions, `{"prompt":null,"prompt_embeds":["QQ==","QQ=="]}`, Request{Sequences: 2, InputChars: 8, InputBytes: 8, MaxTokens: 16}},
		{"responses", Responses, `{"input":"abc","max_output_tokens":9,"stream":true,"background":false}`, Request{Stream: true, Sequences: 1, InputChars: 3, InputBytes: 3, MaxTokens: 9}},
		{
			"responses with items", Responses, `{"input":[{"role":"user","content":[{"type":"input_text","text":"ab"}]},{"type":"function_call_output","output":"c"}]}`,
			Request{Sequences: 1, InputChars: 3, InputBytes: 3},
		},
		{
			"messages", Messages, `{"max_tokens":8,"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{}}]}]}`,
			Request{Sequences: 1, InputChars: 1, InputBytes: 1, MaxTokens: 8, Images: 1},
		},
		{"embeddings are one slot", Embeddings, `{"input":["a","b","c"],"stream":true}`, Request{Sequences: 1, InputChars: 3, InputBytes: 3}},
		{"rerank", Rerank, `{"query":"a","documents":["bc",{"text":"d"}]}`, Request{Sequences: 1, InputChars: 4, InputBytes: 4}},
		{"a byte order mark", Chat, "\uFEFF{\"messages\":[]}", Request{Sequences: 1}},
		{"an empty object", Embeddings, " { } ", Request{Sequences: 1}},
		{"whole floats", Chat, `{"messages":[],"max_tokens":1e2}`, Request{Sequences: 1, MaxTokens: 100}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Scan(tt.e, jsonType, []byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			tt.want.Endpoint = tt.e
			if diff := cmp.Diff(&tt.want, got, cmpopts.IgnoreUnexported(Request{}), cmpopts.IgnoreFields(Request{}, "HeadHash")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestScanRefuses(t *testing.T) {
	tests := []struct {
		name              string
		e                 Endpoint
		contentType, body string
		param, message    string
	}{
		{"nothing", Chat, jsonType, " ", "", "empty"},
		{"another type", Chat, "text/plain", "{}", "", "Content-Type: application/json"},
		{"no type", Chat, "", "{}", "", "Content-Type: application/json"},
		{"no type that can be read", Chat, "a/b; =", "{}", "", "Content-Type"},
		{"garbage", Chat, jsonType, `{"messages":[}`, "messages.0", "at byte 13"},
		{"cut", Chat, jsonType, `{"messages":[`, "", ""},
		{"a list", Chat, jsonType, `[]`, "", "object"},
		{"two objects", Chat, jsonType, `{"messages":[]} {}`, "", "at byte"},
		{"a name twice", Chat, jsonType, `{"messages":[],"priority":1,"pr\u0069ority":2}`, "priority", "twice"},
		{"a name twice, deep", Chat, jsonType, `{"messages":[{"a":1,"a":2}]}`, "messages.0.a", "twice"},
		{"a name twice, deeper", Chat, jsonType, `{"messages":[{"content":[{"text":"a","te\u0078t":""}]}]}`, "messages.0.content.0.text", "twice"},
		{"too many fields", Embeddings, jsonType, manyFields(maxFields + 1), "", "256"},
		{"too many fields of a message", Chat, jsonType, `{"messages":[` + manyFields(maxInner+1) + `]}`, "", "32"},
		{"no UTF-8", Chat, jsonType, "{\"messages\":[],\"a\":\"\xff\"}", "a", "UTF-8"},
		{"half a pair", Chat, jsonType, `{"messages":[{"content":"\ud800"}]}`, "messages.0.content", "surrogate"},
		{"no messages", Chat, jsonType, `{"model":"m"}`, "messages", "missing"},
		{"messages are a text", Chat, jsonType, `{"messages":"hi"}`, "messages", "list"},
		{"messages are numbers", Chat, jsonType, `{"messages":[1]}`, "messages", "object"},
		{"conversations to chat", Chat, jsonType, `{"messages":[[]]}`, "messages", "object"},
		{"messages to a batch", ChatBatch, jsonType, `{"messages":[{}]}`, "messages", "list"},
		{"model is a number", Chat, jsonType, `{"model":1,"messages":[]}`, "model", "string"},
		{"role is a number", Chat, jsonType, `{"messages":[{"role":1}]}`, "role", "string"},
		{"stream is a text", Chat, jsonType, `{"stream":"true","messages":[]}`, "stream", "true or false"},
		{"stream_options is a list", Chat, jsonType, `{"stream_options":[],"messages":[]}`, "stream_options", "object"},
		{"include_usage twice", Chat, jsonType, `{"stream_options":{"include_usage":true,"include_usage":false},"messages":[]}`, "stream_options.include_usage", "twice"},
		{"max_tokens is negative", Chat, jsonType, `{"max_tokens":-1,"messages":[]}`, "max_tokens", "from 0"},
		{"max_tokens is a text", Chat, jsonType, `{"max_tokens":"5","messages":[]}`, "max_tokens", "whole number"},
		{"max_tokens has a fraction", Chat, jsonType, `{"max_tokens":1.5,"messages":[]}`, "max_tokens", "whole number"},
		{"max_tokens is huge", Chat, jsonType, `{"max_tokens":1e300,"messages":[]}`, "max_tokens", "from 0"},
		{"NaN", Chat, jsonType, `{"max_tokens":NaN,"messages":[]}`, "max_tokens", "valid JSON"},
		{"n is 0", Chat, jsonType, `{"n":0,"messages":[]}`, "n", "from 1"},
		{"too deep", Chat, jsonType, `{"x":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, "", "depth"},
		{"too deep in content", Chat, jsonType, `{"messages":[{"content":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}]}`, "", "depth"},
		{"in the background", Responses, jsonType, `{"background":true,"input":""}`, "background", "queue"},
		{"JSON for audio", Transcriptions, jsonType, `{}`, "", "multipart"},
		{"no boundary", Transcriptions, "multipart/form-data", ``, "", "boundary"},
		{"a form that is cut", Transcriptions, "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nabc", "file", "within"},
		{"no file", Transcriptions, "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nabc\r\n--x--\r\n", "file", "missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Scan(tt.e, tt.contentType, []byte(tt.body))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if tt.param != "" && e.Param != tt.param || !strings.Contains(e.Message, tt.message) || e.Code != "invalid_request" {
				t.Errorf("param %q, code %q, message %q", e.Param, e.Code, e.Message)
			}
			if len(e.Param) > maxParam || len(e.Message) > 1000 {
				t.Errorf("the error is %d bytes long", len(e.Message))
			}
		})
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"f%d":0`, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestScanNeedsNoMemoryForManyNames(t *testing.T) {
	body := []byte(`{"messages":[],"logit_bias":` + manyFields(100_000) + `}`)
	if n := testing.AllocsPerRun(1, func() {
		if _, err := Scan(Chat, jsonType, body); err != nil {
			t.Fatal(err)
		}
	}); n > 100 {
		t.Errorf("%v allocations", n)
	}
}
