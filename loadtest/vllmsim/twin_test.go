package vllmsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The twin tests send the same requests to the emulator and to a real vLLM 0.32 and
// compare statuses, headers, shapes, and the texts of errors. What the real one
// answered is recorded in testdata, so that they also run without it. To record or
// to compare anew start one by hand, with any small model:
//
//	vllm serve MODEL --served-model-name tiny --max-model-len 32768 --max-num-seqs 8 \
//	    --enable-auto-tool-choice --tool-call-parser hermes --enable-prompt-tokens-details
//	vllm serve MODEL --served-model-name tiny-embed --max-model-len 32768 --runner pooling --convert embed
//
// and tell the tests where: VLLM_URL=http://127.0.0.1:8000, VLLM_POOLING_URL. With
// VLLM_RECORD=1 they write down what it answers.

// twin is a request, and how closely the two answers are compared.
type twin struct {
	request
	loose bool // not by the text of the error
}

func generationTwins() []twin {
	return slices.Concat(bodyTwins(), chatTwins(), completionTwins(), otherTwins(), httpTwins())
}

// generator and pooler are the configurations that equal the real ones.
func generator() Config {
	return Config{Profile: "tiny-cpu", Models: []string{"tiny"}, Tools: true, PromptTokensDetails: true, Scheduling: "priority"}
}

func pooler() Config {
	return Config{Profile: "tiny-cpu", Models: []string{"tiny-embed"}, Pooling: true}
}

func TestAnswersAreWhatVLLMAnswered(t *testing.T) {
	for _, tt := range []struct {
		record string
		cfg    Config
		twins  []twin
	}{
		{"generation", generator(), generationTwins()},
		{"pooling", pooler(), poolingTwins()},
	} {
		t.Run(tt.record, func(t *testing.T) {
			want := readRecord(t, tt.record)
			if len(want) != len(tt.twins) {
				t.Fatalf("%d answers are recorded for %d requests", len(want), len(tt.twins))
			}
			for i, tw := range tt.twins {
				inBubble(t, tt.cfg, func(b bubble) {
					t, s := b.T, b.server
					got := tw.digest(t, tw.on(t, s))
					if d := cmp.Diff(want[i], got); d != "" {
						t.Errorf("%d: %s %.300s\n-vLLM +ours:\n%s", i, tw.path, tw.body, d)
					}
				})
			}
		})
	}
}

func recordFile(name string) string { return filepath.Join("testdata", name+".json") }

func readRecord(t *testing.T, name string) []map[string]any {
	t.Helper()
	b, err := os.ReadFile(recordFile(name))
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestTwinGeneration asks a real server that generates.
func TestTwinGeneration(t *testing.T) {
	compareTwins(t, "VLLM_URL", "generation", generator(), generationTwins())
}

// TestTwinPooling asks a real server that embeds.
func TestTwinPooling(t *testing.T) {
	compareTwins(t, "VLLM_POOLING_URL", "pooling", pooler(), poolingTwins())
}

func compareTwins(t *testing.T, variable, record string, cfg Config, twins []twin) {
	t.Helper()
	theirs := os.Getenv(variable)
	if theirs == "" {
		t.Skipf("set %s to the URL of a real vLLM, started as the comment in this file says", variable)
	}
	cfg.Speed = 1
	_, ours := serve(t, cfg)
	recorded := make([]map[string]any, len(twins))
	for i, tw := range twins {
		t.Run(fmt.Sprintf("%d_%s", i, strings.ReplaceAll(tw.path, "/", "_")), func(t *testing.T) {
			want, got := tw.do(t, theirs), tw.do(t, ours)
			recorded[i] = tw.digest(t, want)
			if d := cmp.Diff(recorded[i], tw.digest(t, got)); d != "" {
				t.Errorf("%s %s\n-vLLM +ours:\n%s\nvLLM: %.1500s\nours: %.1500s", tw.path, tw.body, d, want.body, got.body)
			}
		})
	}
	if os.Getenv("VLLM_RECORD") == "" {
		return
	}
	b, err := json.MarshalIndent(recorded, "", " ")
	if err == nil {
		err = os.WriteFile(recordFile(record), append(b, '\n'), 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// digest is what must be equal in two answers.
func (tw twin) digest(t *testing.T, a answered) map[string]any {
	t.Helper()
	out := map[string]any{"status": float64(a.status)}
	for _, name := range []string{
		"Content-Type", "Vary", "Allow", "Server", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age",
	} {
		if v := a.header.Get(name); v != "" {
			out[name] = v
		}
	}
	var v map[string]any
	switch {
	case tw.method == http.MethodHead, tw.path == "/metrics":
	case strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream"):
		out["events"] = tw.streamShape(t, a)
	case a.header.Get("Content-Type") == "application/octet-stream":
		out["metadata"] = a.header.Get("Metadata") != ""
	case json.Unmarshal([]byte(a.body), &v) != nil:
		out["body"] = a.body
	default:
		if e, ok := v["error"].(map[string]any); ok {
			if tw.loose {
				delete(e, "message")
			}
			out["error"] = e
		}
		out["shape"] = shape(v)
	}
	return out
}

// streamShape is the events in order; how many of a kind there are is chance.
func (tw twin) streamShape(t *testing.T, a answered) []any {
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
	var distinct []any // as it is read from a record
	for _, line := range slices.Compact(out) {
		distinct = append(distinct, line)
	}
	return distinct
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

// TestTwinFields sends every field with values of all kinds, and compares by status,
// type and parameter. There are too many to be recorded.
func TestTwinFields(t *testing.T) {
	theirs := os.Getenv("VLLM_URL")
	if theirs == "" {
		t.Skip("set VLLM_URL to the URL of a real vLLM, started as the comment in this file says")
	}
	cfg := generator()
	cfg.Speed = 1
	_, ours := serve(t, cfg)
	const fields = "model n max_tokens min_tokens temperature top_p top_k min_p presence_penalty frequency_penalty repetition_penalty stop " +
		"seed stream stream_options logit_bias logprobs ignore_eos include_stop_str_in_output user priority cache_salt request_id " +
		"return_token_ids return_tokens_as_token_ids prompt_logprobs truncate_prompt_tokens response_format structured_outputs " +
		"skip_special_tokens stop_token_ids echo add_special_tokens best_of bad_words max_completion_tokens top_logprobs tools " +
		"tool_choice parallel_tool_calls add_generation_prompt continue_final_message return_prompt_text reasoning_effort " +
		"chat_template_kwargs documents use_beam_search suffix nosuch"
	for path, begin := range map[string]string{chatPath: hello + `,"max_tokens":1`, completionPath: `"prompt":"a","max_tokens":1`} {
		for field := range strings.FieldsSeq(fields) {
			for _, v := range []string{
				"null", "true", "0", "1", "-1", "1.5", `"x"`, `"1"`, `""`, "[]", "{}", "[1]", `["a"]`, `{"a":1}`, "1e400",
			} {
				rq := request{path: path, body: "{" + begin + `,"` + field + `":` + v + "}"}
				if want, got := verdict(rq.do(t, theirs)), verdict(rq.do(t, ours)); want != got {
					t.Errorf("%s: %s\nvLLM: %s\nours: %s", path, rq.body, want, got)
				}
			}
		}
	}
}

// verdict is what an answer says of a request.
func verdict(a answered) string {
	var v struct {
		Error struct {
			Type  string
			Param *string
		}
	}
	if a.status == http.StatusOK || json.Unmarshal([]byte(a.body), &v) != nil {
		return strconv.Itoa(a.status)
	}
	return fmt.Sprintf("%d %s %s", a.status, v.Error.Type, compact(v.Error.Param))
}

// TestTwinMetrics looks for every series of ours at a real server, with the same
// labels.
func TestTwinMetrics(t *testing.T) {
	for variable, cfg := range map[string]Config{"VLLM_URL": generator(), "VLLM_POOLING_URL": pooler()} {
		t.Run(variable, func(t *testing.T) {
			theirs := os.Getenv(variable)
			if theirs == "" {
				t.Skipf("set %s to the URL of a real vLLM, started as the comment in this file says", variable)
			}
			_, ours := serve(t, cfg)
			scrape := request{path: "/metrics"}
			want, got := series(scrape.do(t, theirs).body), series(scrape.do(t, ours).body)
			for name, labels := range got {
				there, ok := want[name]
				switch {
				case !ok:
					t.Errorf("%s is not vLLM's", name)
				case name == "vllm:cache_config_info": // vLLM has two dozen more
					for _, l := range labels {
						if !slices.Contains(there, l) {
							t.Errorf("%s has no label %s", name, l)
						}
					}
				default:
					if d := cmp.Diff(there, labels); d != "" {
						t.Errorf("%s: %s", name, d)
					}
				}
			}
			for name := range want {
				if _, ok := got[name]; !ok && strings.HasPrefix(name, "vllm:") && !strings.HasSuffix(name, "_created") {
					t.Logf("%s is missing", name)
				}
			}
		})
	}
}

// series are the names of the labels of each metric.
func series(text string) map[string][]string {
	out := map[string][]string{}
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, "{")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		labels, _, _ := strings.Cut(rest, "} ")
		var names []string
		for l := range strings.SplitSeq(labels, ",") {
			if l, _, ok := strings.Cut(l, "="); ok {
				names = append(names, l)
			}
		}
		slices.Sort(names)
		out[name] = names
	}
	return out
}
