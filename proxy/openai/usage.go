package openai

import (
	"bytes"
	"strconv"
)

// Usage is what a backend says it did for one request, in tokens.
type Usage struct {
	Input       int  // of the prompt, the cached ones included
	Cached      int  // of the prompt, found in the prefix cache
	Output      int  // generated, of all sequences
	CachedKnown bool // the backend reported Cached; otherwise it is 0
}

// merge takes the larger figure of each: /v1/messages reports the prompt at the
// beginning of a stream and the output at its end.
func (u Usage) merge(v Usage) Usage {
	return Usage{
		Input: max(u.Input, v.Input), Cached: max(u.Cached, v.Cached), Output: max(u.Output, v.Output),
		CachedKnown: u.CachedKnown || v.CachedKnown,
	}
}

// UsageOf finds the usage in the body of an answer that is not a stream. False:
// there is none.
func UsageOf(e Endpoint, body []byte) (Usage, bool) {
	const quoted = `"usage"`
	end := len(body)
	for range maxTries {
		i := bytes.LastIndex(body[:end], []byte(quoted))
		if i < 0 {
			return Usage{}, false
		}
		if u, ok := parseUsage(e, valueBehindName(body[i+len(quoted):])); ok {
			return u, true
		}
		end = i
	}
	return Usage{}, false
}

// parseUsage reads the object behind a `usage` key. The APIs differ in names: chat
// and completions say prompt and completion, responses and messages input and
// output, rerank only a total.
func parseUsage(e Endpoint, b []byte) (Usage, bool) {
	if len(b) == 0 || b[0] != '{' {
		return Usage{}, false
	}
	var u Usage
	var total, created int
	var known, inputKnown bool
	for m, ok := nextMember(b, 0); ok; m, ok = nextMember(b, m.valueEnd) {
		value := b[m.valueStart:m.valueEnd]
		switch string(b[m.nameStart+1 : m.nameEnd-1]) {
		case "prompt_tokens", "input_tokens":
			inputKnown = count(value, &u.Input) || inputKnown
		case "completion_tokens", "output_tokens":
			known = count(value, &u.Output) || known
		case "total_tokens":
			known = count(value, &total) || known
		case "prompt_tokens_details", "input_tokens_details":
			u.CachedKnown = count(topLevel(value, "cached_tokens"), &u.Cached) || u.CachedKnown
		case "cache_creation_input_tokens":
			count(value, &created)
		case "cache_read_input_tokens":
			u.CachedKnown = count(value, &u.Cached) || u.CachedKnown
		}
	}
	if !inputKnown {
		u.Input = max(0, total-u.Output)
	}
	if e == Messages { // Anthropic's input_tokens are those beside the cache
		u.Input += u.Cached + created
	}
	return u, known || inputKnown
}

// count reads a number of tokens. False: it is none.
func count(value []byte, n *int) bool {
	v, err := strconv.ParseInt(string(value), 10, 32) // the conversion does not allocate
	if err != nil || v < 0 {
		return false
	}
	*n = int(v)
	return true
}
