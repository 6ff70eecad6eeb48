package openai

import "bytes"

// HasContent reports whether the data of an event carries something that the
// model said: text, reasoning or a tool call. The role that begins a stream,
// finish reasons and usage are none.
func HasContent(e Endpoint, data []byte) bool {
	switch e {
	case Messages:
		return bytes.Contains(data, []byte(`content_block_delta"`))
	case Responses:
		return bytes.Contains(data, []byte(`.delta"`))
	case Completions:
		return hasFilled(data, `"text"`)
	default:
		return hasFilled(data, `"content"`) || hasFilled(data, `"reasoning_content"`) ||
			hasFilled(data, `"reasoning"`) || hasFilled(data, `"tool_calls"`) || hasFilled(data, `"refusal"`)
	}
}

// hasFilled reports whether a member of that name holds a string, list or
// object that is not empty.
func hasFilled(b []byte, quoted string) bool {
	for {
		i := bytes.Index(b, []byte(quoted))
		if i < 0 {
			return false
		}
		b = b[i+len(quoted):]
		if colon := skipSpace(b, 0); colon < len(b) && b[colon] == ':' && filled(b, skipSpace(b, colon+1)) {
			return true
		}
	}
}

func filled(b []byte, i int) bool {
	if i+1 >= len(b) {
		return false
	}
	switch b[i] {
	case '"':
		return b[i+1] != '"'
	case '[':
		return b[skipSpaceBefore(b, i+1)] != ']'
	case '{':
		return true
	default:
		return false
	}
}

// skipSpaceBefore is skipSpace, but ends at the last byte of b.
func skipSpaceBefore(b []byte, i int) int { return min(skipSpace(b, i), len(b)-1) }

// TextOf is how many bytes of text the model said in an answer that is not a
// stream, as they stand in its JSON: text, reasoning, the arguments of tool calls.
func TextOf(body []byte) int {
	n := 0
	for _, quoted := range [...]string{`"content"`, `"text"`, `"reasoning_content"`, `"reasoning"`, `"arguments"`, `"refusal"`} {
		for rest := body; ; {
			i := bytes.Index(rest, []byte(quoted))
			if i < 0 {
				break
			}
			rest = rest[i+len(quoted):]
			if value := valueBehindName(rest); len(value) > 1 && value[0] == '"' {
				n += len(value) - 2
			}
		}
	}
	return n
}
