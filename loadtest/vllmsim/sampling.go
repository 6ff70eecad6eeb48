package vllmsim

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// sampling is what chat, completions and batches say alike of the text they want.
type sampling struct {
	model      string
	n          int
	maxTokens  *int
	maxName    string // the field that maxTokens came from
	minTokens  int
	ignoreEOS  bool
	stops      []string
	stopShown  bool // include_stop_str_in_output
	seed       *int
	priority   int
	salt       string
	requestID  string
	tokenIDs   bool // return_token_ids
	asIDs      bool // return_tokens_as_token_ids
	logprobs   int  // alternatives of each token; negative: none are wanted
	promptLogs int  // the same of the prompt
	truncate   *int // truncate_prompt_tokens

	stream     bool
	withUsage  bool // a chunk of it at the end of a stream
	continuous bool // and in every other

	temperature, topP, minP, presence, frequency, repetition float64
	topK                                                     int
}

func readSampling(f *fields) sampling {
	g := sampling{
		model: f.text("model"), n: f.integer("n", 1), maxName: "max_tokens", maxTokens: f.optional("max_tokens"),
		minTokens: f.integer("min_tokens", 0), ignoreEOS: f.flag("ignore_eos"), stops: f.stops(),
		stopShown: f.flag("include_stop_str_in_output"), seed: f.int64("seed"), priority: f.priority(),
		salt: f.text("cache_salt"), requestID: f.text("request_id"), tokenIDs: f.flag("return_token_ids"),
		asIDs: f.flag("return_tokens_as_token_ids"), logprobs: -1, promptLogs: f.logprobs("prompt_logprobs"),
		truncate: f.int64("truncate_prompt_tokens"), stream: f.flag("stream"),
		temperature: f.float("temperature", 1), topP: f.float("top_p", 1), minP: f.float("min_p", 0),
		presence: f.float("presence_penalty", 0), frequency: f.float("frequency_penalty", 0),
		repetition: f.float("repetition_penalty", 1), topK: f.integer("top_k", 0),
	}
	if o := f.child("stream_options"); o != nil {
		g.withUsage, g.continuous = o.flag("include_usage"), o.flag("continuous_usage_stats")
		g.continuous = g.continuous && g.withUsage
	}
	return g
}

func (f *fields) priority() int {
	if p := f.int64("priority"); p != nil {
		return *p
	}
	return 0
}

// vocabulary is how many tokens a model has; -1 asks for the log probabilities of
// all.
const vocabulary = 151_936

// logprobs is a number of alternatives; negative: none are wanted.
func (f *fields) logprobs(name string) int {
	n := f.integer(name, -2)
	if n == -1 {
		return vocabulary
	}
	return max(n, -1)
}

// mostStops is how many stop strings there may be.
const mostStops = 4

func (f *fields) stops() []string {
	at := f.path("stop")
	switch v := f.members["stop"].(type) {
	case nil:
		return nil
	case string:
		return []string{v}
	case []any:
		return f.stopList(v, at)
	default:
		f.note(noText(at, v))
		f.note(noList(at, v))
		return nil
	}
}

func (f *fields) stopList(v []any, at string) []string {
	if len(v) > mostStops {
		f.note(noText(at, v))
		f.note(flaw{
			kind: "too_long", at: at, input: v,
			message: fmt.Sprintf("List should have at most %d items after validation, not %d", mostStops, len(v)),
			context: fmt.Sprintf("{'field_type': 'List', 'max_length': %d, 'actual_length': %d}", mostStops, len(v)),
		})
		return nil
	}
	var out []string
	for i, e := range v {
		s, ok := e.(string)
		if !ok {
			f.note(noText(at, v))
			f.note(noText(at+"."+strconv.Itoa(i), e))
			return nil
		}
		out = append(out, s)
	}
	return out
}

// checkBefore is what vLLM looks at before it reads the fields.
func checkBefore(f *fields) *fault {
	if bad := checkSalt(f); bad != nil {
		return bad
	}
	if f.truthy("stream_options") && !f.truthy("stream") {
		return badParameter("stream_options", "Stream options can only be defined when `stream=True`.")
	}
	return nil
}

func checkSalt(f *fields) *fault {
	if v, ok := f.members["cache_salt"]; ok && v != nil {
		s, text := v.(string)
		switch {
		case !text || s == "":
			return badParameter("cache_salt", "Parameter 'cache_salt' must be a non-empty string if provided.")
		case len([]rune(s)) > 128 || strings.ContainsAny(s, "@/\\\x00"):
			return badParameter("cache_salt",
				`Parameter 'cache_salt' must be at most 128 characters and must not contain '@', '/', '\\', or NUL.`)
		}
	}
	return nil
}

// checkBias refuses a bias of something that is no token.
func checkBias(f *fields) *fault {
	o, ok := f.members["logit_bias"].(object)
	if !ok {
		return nil
	}
	var bad []any
	for _, name := range o.names {
		if _, err := strconv.Atoi(name); err != nil {
			bad = append(bad, name)
		}
	}
	if bad == nil {
		return nil
	}
	return badValue("logit_bias", pyText(bad), "logit_bias contains key(s) that cannot be converted to integer token IDs: "+pyText(bad))
}

const (
	mostChoices  = 16384
	mostLogprobs = 20
)

// check is the bounds of the values, in the order in which vLLM looks. room is how
// many tokens the prompt leaves.
func (g *sampling) check(room int) *fault {
	switch {
	case g.n < 1:
		return badRequest("", fmt.Sprintf("n must be at least 1, got %d.", g.n))
	case g.n > mostChoices:
		return badRequest("", fmt.Sprintf("n must be at most %d, got %d. To increase this limit, "+
			"set the VLLM_MAX_N_SEQUENCES environment variable.", mostChoices, g.n))
	}
	if f := g.checkPenalties(); f != nil {
		return f
	}
	most := room
	if g.maxTokens != nil {
		most = min(room, *g.maxTokens)
	}
	switch {
	case most < 1:
		return badValue("max_tokens", most, fmt.Sprintf("max_tokens must be at least 1, got %d.", most))
	case g.minTokens < 0:
		return badRequest("", fmt.Sprintf("min_tokens must be greater than or equal to 0, got %d.", g.minTokens))
	case g.minTokens > most:
		return badRequest("", fmt.Sprintf("min_tokens must be less than or equal to max_tokens=%d, got %d.", most, g.minTokens))
	}
	if slices.Contains(g.stops, "") {
		return badRequest("", "stop cannot contain an empty string.")
	}
	if g.temperature < 1e-5 && g.n > 1 {
		return badRequest("", fmt.Sprintf("n must be 1 when using greedy sampling, got %d.", g.n))
	}
	for _, of := range []struct {
		param, name string
		n           int
	}{{"logprobs", "sample logprobs", g.logprobs}, {"prompt_logprobs", "prompt logprobs", g.promptLogs}} {
		if of.n > mostLogprobs {
			return badValue(of.param, of.n,
				fmt.Sprintf("Requested %s of %d, which is greater than max allowed: %d", of.name, of.n, mostLogprobs))
		}
	}
	return nil
}

func (g *sampling) checkPenalties() *fault {
	unbounded := math.IsNaN(g.temperature) || math.IsInf(g.temperature, 0)
	switch {
	case g.presence < -2 || g.presence > 2:
		return badRequest("", "presence_penalty must be in [-2, 2], got "+pyFloat(g.presence)+".")
	case g.frequency < -2 || g.frequency > 2:
		return badRequest("", "frequency_penalty must be in [-2, 2], got "+pyFloat(g.frequency)+".")
	case math.IsInf(g.repetition, 0) || math.IsNaN(g.repetition):
		return badRequest("", "repetition_penalty must be a finite number, got "+pyFloat(g.repetition)+".")
	case g.repetition <= 0:
		return badRequest("", "repetition_penalty must be greater than zero, got "+pyFloat(g.repetition)+".")
	case unbounded:
		return badFloat("temperature", g.temperature, "temperature must be a finite number")
	case g.temperature < 0:
		return badFloat("temperature", g.temperature, "temperature must be non-negative")
	case g.temperature > 2:
		return badFloat("temperature", g.temperature, "temperature must be in [0, 2]")
	case g.topP <= 0 || g.topP > 1:
		return badFloat("top_p", g.topP, "top_p must be in (0, 1]")
	case g.topK < -1:
		return badRequest("", fmt.Sprintf("top_k must be 0 (disable), or at least 1, got %d.", g.topK))
	case g.minP < 0 || g.minP > 1:
		return badRequest("", "min_p must be in [0, 1], got "+pyFloat(g.minP)+".")
	}
	return nil
}

func badFloat(param string, v float64, message string) *fault {
	return badValue(param, pyFloat(v), message+", got "+pyFloat(v)+".")
}
