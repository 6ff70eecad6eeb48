package openai

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func feedAll(f *StreamFilter, pieces ...string) string {
	var out []byte
	for _, p := range pieces {
		out = f.Feed([]byte(p), out)
	}
	return string(f.Flush(out))
}

const (
	roleChunk   = `data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"prompt_token_ids":null}` + "\n\n"
	textChunk   = `data: {"id":"x","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}` + "\n\n"
	finishChunk = `data: {"id":"x","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}]}` + "\n\n"
	usageChunk  = `data: {"id":"x","choices":[],"usage":{"prompt_tokens":10,"total_tokens":13,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}},"system_fingerprint":"fp"}` + "\n\n"
	done        = "data: [DONE]\n\n"
	printed     = `data: {"id":"x","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"system_fingerprint":"fp"}` + "\n\n"
	errorChunk  = `data: {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "param": null, "code": 500}}` + "\n\n"
)

func TestStreamFilter(t *testing.T) {
	type facts struct {
		Out               string
		Usage             Usage
		Known             bool
		Events, Generated int
		Finished, Failed  bool
	}
	usage := Usage{Input: 10, Cached: 4, Output: 3, CachedKnown: true}
	tests := []struct {
		name string
		opts FilterOptions
		in   string
		want facts
	}{
		{
			"usage that nobody asked for goes, its fingerprint stays",
			FilterOptions{Endpoint: Chat, DropUsage: true},
			roleChunk + textChunk + finishChunk + usageChunk + done,
			facts{Out: roleChunk + textChunk + printed + done, Usage: usage, Known: true, Events: 1, Generated: 1, Finished: true},
		},
		{
			"usage that was asked for stays",
			FilterOptions{Endpoint: Chat},
			roleChunk + textChunk + finishChunk + usageChunk + done,
			facts{Out: roleChunk + textChunk + finishChunk + usageChunk + done, Usage: usage, Known: true, Events: 1, Generated: 3, Finished: true},
		},
		{
			"a comment does not release the finish",
			FilterOptions{Endpoint: Chat, DropUsage: true},
			finishChunk + ": keep-alive\n\n" + usageChunk + done,
			facts{Out: ": keep-alive\n\n" + printed + done, Usage: usage, Known: true, Finished: true},
		},
		{
			"only the last finish of several choices is held back and has the fingerprint",
			FilterOptions{Endpoint: Chat, DropUsage: true},
			finishChunk + textChunk + finishChunk + usageChunk + done,
			facts{Out: finishChunk + textChunk + printed + done, Usage: usage, Known: true, Events: 1, Generated: 1, Finished: true},
		},
		{
			"no usage chunk comes after all",
			FilterOptions{Endpoint: Chat, DropUsage: true},
			textChunk + finishChunk + done,
			facts{Out: textChunk + finishChunk + done, Events: 1, Generated: 1, Finished: true},
		},
		{
			"an engine that dies",
			FilterOptions{Endpoint: Chat, DropUsage: true},
			textChunk + errorChunk + done,
			facts{Out: textChunk + errorChunk + done, Events: 1, Generated: 1, Finished: true, Failed: true},
		},
		{
			"a stream that breaks off",
			FilterOptions{Endpoint: Chat, DropUsage: true},
			textChunk + finishChunk[:20],
			facts{Out: textChunk, Events: 1, Generated: 1},
		},
		{
			"the last blank line is missing",
			FilterOptions{Endpoint: Chat},
			textChunk + strings.TrimRight(done, "\n"),
			facts{Out: textChunk + done, Events: 1, Generated: 1, Finished: true},
		},
		{
			"event keys are dropped, however written, and nothing else",
			FilterOptions{Endpoint: Chat},
			`data: {"event":{"type":"execute"}, "a" : 1 }` + "\n\n" + `data: {"a":"event","\u0065vent":{},"b":{"event":1}}` + "\r\n\r\n" + `data:{"event":1,"event":2}` + "\n\n" + "event: x\ndata: {\"a\":1,\"event\":2}\ndata: {\"event\":2,\"b\":3}\n\n",
			facts{Out: `data: {"a" : 1 }` + "\n\n" + `data: {"a":"event","b":{"event":1}}` + "\r\n\r\n" + `data:{}` + "\n\n" + "event: x\ndata: {\"a\":1}\ndata: {\"b\":3}\n\n"},
		},
		{
			"what is no JSON passes",
			FilterOptions{Endpoint: Chat, DropUsage: true},
			"data: {\"event\":}\n\nhello\nid: 3\n\n\n\ndata\n\ndata: \"usage\n\n",
			facts{Out: "data: {\"event\":}\n\nhello\nid: 3\n\n\n\ndata\n\ndata: \"usage\n\n"},
		},
		{
			"text that speaks of usage and errors",
			FilterOptions{Endpoint: Chat, DropUsage: true},
			`data: {"choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":1},\"error\":{}"}}],"usage":null}` + "\n\n" + `data: {"choices":[{"delta":{"content":"error"}}],"error":null}` + "\n\n",
			facts{Out: `data: {"choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":1},\"error\":{}"}}],"usage":null}` + "\n\n" + `data: {"choices":[{"delta":{"content":"error"}}],"error":null}` + "\n\n", Events: 2, Generated: 2},
		},
		{
			"tool calls and reasoning are content",
			FilterOptions{Endpoint: Chat},
			`data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}` + "\n\n" + `data: {"choices":[{"delta":{"reasoning_content":"so"}}]}` + "\n\n" + `data: {"choices":[{"delta":{"tool_calls":[ ]}}]}` + "\n\n",
			facts{Out: `data: {"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}` + "\n\n" + `data: {"choices":[{"delta":{"reasoning_content":"so"}}]}` + "\n\n" + `data: {"choices":[{"delta":{"tool_calls":[ ]}}]}` + "\n\n", Events: 2, Generated: 2},
		},
		{
			"completions",
			FilterOptions{Endpoint: Completions, DropUsage: true},
			`data: {"choices":[{"index":0,"text":"a","finish_reason":"length"}]}` + "\n\n" + usageChunk + done,
			facts{Out: `data: {"choices":[{"index":0,"text":"a","finish_reason":"length"}],"system_fingerprint":"fp"}` + "\n\n" + done, Usage: usage, Known: true, Events: 1, Generated: 1, Finished: true},
		},
		{
			"messages",
			FilterOptions{Endpoint: Messages},
			"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":0,\"cache_read_input_tokens\":2}}}\n\n" +
				"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"a\"}}\n\n" +
				"event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":7,\"output_tokens\":5}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
			facts{
				Out: "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":7,\"output_tokens\":0,\"cache_read_input_tokens\":2}}}\n\n" +
					"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"a\"}}\n\n" +
					"event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":7,\"output_tokens\":5}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
				Usage: Usage{Input: 9, Cached: 2, Output: 5, CachedKnown: true}, Known: true, Events: 1, Generated: 5, Finished: true,
			},
		},
		{
			"messages that fail",
			FilterOptions{Endpoint: Messages},
			"event: error\ndata: no json\n\n",
			facts{Out: "event: error\ndata: no json\n\n", Failed: true},
		},
		{
			"responses that fail as chats do",
			FilterOptions{Endpoint: Responses},
			errorChunk,
			facts{Out: errorChunk, Failed: true},
		},
		{
			"responses",
			FilterOptions{Endpoint: Responses},
			"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null,\"usage\":{\"input_tokens\":4,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":2}}}\n\n",
			facts{
				Out:   "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\nevent: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"error\":null,\"usage\":{\"input_tokens\":4,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":2}}}\n\n",
				Usage: Usage{Input: 4, Output: 2, CachedKnown: true}, Known: true, Events: 1, Generated: 2, Finished: true,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, size := range []int{len(tt.in), 1, 7} {
				f := NewStreamFilter(tt.opts)
				got := facts{Out: feedAll(f, chunks(tt.in, size)...), Events: f.ContentEvents(), Generated: f.Generated(), Finished: f.Finished(), Failed: f.Failed()}
				got.Usage, got.Known = f.Usage()
				// with usage dropped, its count is known all the same
				if tt.want.Known {
					tt.want.Generated = max(tt.want.Generated, tt.want.Usage.Output)
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("in pieces of %d (-want +got):\n%s", size, diff)
				}
			}
		})
	}
}

func chunks(s string, size int) []string {
	var out []string
	for len(s) > size {
		out, s = append(out, s[:size]), s[size:]
	}
	return append(out, s)
}

func TestStreamFilterPassesWhatIsTooLong(t *testing.T) {
	long := `data: {"event":"` + strings.Repeat("x", maxEvent) + `"}` + "\n\n"
	f := NewStreamFilter(FilterOptions{Endpoint: Chat})
	in := textChunk + long + textChunk
	for _, size := range []int{len(in), 1 << 20} {
		if got := feedAll(f, chunks(in, size)...); got != in {
			t.Errorf("in pieces of %d: %d bytes came out of %d", size, len(got), len(in))
		}
	}
}

func TestStreamFilterDoesNotCareForPieces(t *testing.T) {
	parts := []string{roleChunk, textChunk, finishChunk, usageChunk, done, errorChunk, "\n", "\r\n", "\r", ": c\n\n", "data: {\"event\":1}", "event: error\n", "\xff", "data:", "{", "\""}
	rapid.Check(t, func(t *rapid.T) {
		in := strings.Join(rapid.SliceOf(rapid.SampledFrom(parts)).Draw(t, "parts"), "")
		o := FilterOptions{Endpoint: rapid.SampledFrom([]Endpoint{Chat, Completions, Messages, Responses}).Draw(t, "endpoint"), DropUsage: rapid.Bool().Draw(t, "drop")}
		checkPieces(t, o, in, rapid.IntRange(1, 40).Draw(t, "size"))
	})
}

type fataler interface{ Fatalf(string, ...any) }

func checkPieces(t fataler, o FilterOptions, in string, size int) {
	a, b := NewStreamFilter(o), NewStreamFilter(o)
	whole, pieces := feedAll(a, in), feedAll(b, chunks(in, size)...)
	if whole != pieces {
		t.Fatalf("in one piece\n%q\nin pieces of %d\n%q", whole, size, pieces)
	}
	if a.Finished() != b.Finished() || a.Failed() != b.Failed() || a.Generated() != b.Generated() {
		t.Fatalf("in pieces of %d it is another stream", size)
	}
}

func FuzzStreamFilter(f *testing.F) {
	f.Add(roleChunk+textChunk+finishChunk+usageChunk+done, uint8(3), true)
	f.Add("data: {\"event\":1,\"a\":2}\r\n\r\n"+errorChunk, uint8(1), false)
	f.Fuzz(func(t *testing.T, in string, size uint8, drop bool) {
		for _, e := range []Endpoint{Chat, Messages, Responses} {
			checkPieces(t, FilterOptions{Endpoint: e, DropUsage: drop}, in, int(size)+1)
		}
	})
}

func TestUsageOf(t *testing.T) {
	tests := []struct {
		name string
		e    Endpoint
		body string
		want Usage
		ok   bool
	}{
		{"chat", Chat, `{"choices":[{"message":{"content":"\"usage\":{\"prompt_tokens\":1}"}}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}`, Usage{Input: 5, Output: 2}, true},
		{"something else of that name behind it", Chat, `{"usage": {"prompt_tokens": 5, "completion_tokens": 2}, "tools":[{"usage":{"type":"string"}}], "logprobs":["usage"]}`, Usage{Input: 5, Output: 2}, true},
		{"rerank", Rerank, `{"results":[],"usage":{"total_tokens":9}}`, Usage{Input: 9}, true},
		{"messages", Messages, `{"usage":{"input_tokens":5,"cache_read_input_tokens":3,"cache_creation_input_tokens":1,"output_tokens":2}}`, Usage{Input: 9, Cached: 3, Output: 2, CachedKnown: true}, true},
		{"seconds are no tokens", Transcriptions, `{"text":"","usage":{"type":"duration","seconds":3}}`, Usage{}, false},
		{"none", Chat, `{}`, Usage{}, false},
		{"null", Chat, `{"usage":null}`, Usage{}, false},
		{"garbage", Chat, `"usage":{"prompt_tokens":`, Usage{}, false},
		{"negative", Chat, `{"usage":{"prompt_tokens":-4}}`, Usage{}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := UsageOf(tt.e, []byte(tt.body))
			if got != tt.want || ok != tt.ok {
				t.Errorf("got %+v %v, want %+v %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func BenchmarkStreamFilter(b *testing.B) {
	chunk := []byte(`data: {"id":"chatcmpl-5f0d7a3b1c","object":"chat.completion.chunk","created":1763990000,"model":"qwen2.5-7b","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null,"token_ids":null}]}` + "\n\n")
	f := NewStreamFilter(FilterOptions{Endpoint: Chat, DropUsage: true})
	out := make([]byte, 0, len(chunk))
	b.ReportAllocs()
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		out = f.Feed(chunk, out[:0])
	}
}
