package vllmsim

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The twin tests send the same requests to the emulator and to a real vLLM 0.32 and
// compare statuses, headers, shapes, and the texts of errors. For them a real one is
// started by hand, with any small model:
//
//	vllm serve MODEL --served-model-name tiny --max-model-len 32768 --max-num-seqs 8 \
//	    --enable-auto-tool-choice --tool-call-parser hermes --enable-prompt-tokens-details
//	vllm serve MODEL --served-model-name tiny-embed --max-model-len 32768 --runner pooling --convert embed
//
// and the tests are told where: VLLM_URL=http://127.0.0.1:8000, VLLM_POOLING_URL.

// twin is a request, and how closely the two answers are compared.
type twin struct {
	request
	loose bool // not by the text of the error
}

func TestTwinGeneration(t *testing.T) {
	compareTwins(t, "VLLM_URL", Config{
		Profile: "tiny-cpu", Speed: 1, Models: []string{"tiny"}, Tools: true, PromptTokensDetails: true, Scheduling: "priority",
	}, slices.Concat(bodyTwins(), chatTwins(), completionTwins(), otherTwins(), httpTwins()))
}

func TestTwinPooling(t *testing.T) {
	compareTwins(t, "VLLM_POOLING_URL", Config{Profile: "tiny-cpu", Speed: 1, Models: []string{"tiny-embed"}, Pooling: true}, poolingTwins())
}

func compareTwins(t *testing.T, variable string, cfg Config, twins []twin) {
	t.Helper()
	theirs := os.Getenv(variable)
	if theirs == "" {
		t.Skipf("set %s to the URL of a real vLLM, started as the comment in this file says", variable)
	}
	_, ours := serve(t, cfg)
	for i, tw := range twins {
		t.Run(fmt.Sprintf("%d_%s", i, strings.ReplaceAll(tw.path, "/", "_")), func(t *testing.T) {
			want, got := tw.do(t, theirs), tw.do(t, ours)
			if d := cmp.Diff(tw.digest(t, want), tw.digest(t, got)); d != "" {
				t.Errorf("%s %s\n-vLLM +ours:\n%s\nvLLM: %.1500s\nours: %.1500s", tw.path, tw.body, d, want.body, got.body)
			}
		})
	}
}

// digest is what must be equal in two answers.
func (tw twin) digest(t *testing.T, a answered) map[string]any {
	t.Helper()
	out := map[string]any{"status": a.status}
	for _, name := range []string{"Content-Type", "Vary", "Allow", "Server", "Access-Control-Allow-Methods", "Access-Control-Max-Age"} {
		out[name] = a.header.Get(name)
	}
	var v map[string]any
	switch {
	case strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream"):
		out["events"] = tw.streamShape(t, a)
	case a.header.Get("Content-Type") == "application/octet-stream":
		out["metadata"] = a.header.Get("Metadata") != ""
	case json.Unmarshal([]byte(a.body), &v) == nil:
		out["shape"] = shape(v)
		if e, ok := v["error"].(map[string]any); ok {
			if tw.loose {
				delete(e, "message")
			}
			out["error"] = e
		}
	case strings.HasPrefix(a.header.Get("Content-Type"), "text/plain; version="):
	default:
		out["body"] = a.body
	}
	return out
}

// streamShape is the events in order; how many of a kind there are is chance.
func (tw twin) streamShape(t *testing.T, a answered) []string {
	t.Helper()
	var out []string
	for _, e := range a.events(t) {
		line := e.name + " " + e.data
		if e.data != "[DONE]" {
			var v any
			if err := json.Unmarshal([]byte(e.data), &v); err != nil {
				t.Fatalf("%v in %s", err, e.data)
			}
			line = e.name + " " + shape(v) + indexOf(v)
		}
		out = append(out, line)
	}
	if strings.Contains(tw.body, `"n":2`) {
		slices.Sort(out) // choices overtake each other
	}
	return slices.Compact(out)
}

// indexOf is which choice an event is of.
func indexOf(v any) string {
	m, _ := v.(map[string]any)
	list, _ := m["choices"].([]any)
	if len(list) == 0 {
		return ""
	}
	c, _ := list[0].(map[string]any)
	return fmt.Sprint(" ", c["index"], c["finish_reason"])
}
