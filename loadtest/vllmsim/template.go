package vllmsim

import "strings"

// message is one of a conversation's, as the template sees it.
type message struct {
	role   string
	text   string
	images int // pieces that are not text
}

// imageTokens is what an image costs, about that of a small picture at Qwen-VL.
const imageTokens = 64

// render writes a conversation in ChatML, as Qwen's template does, but stops when
// there are more tokens than the model can read.
func render(messages []message, tools string, generate bool, limit int) []token {
	var out []token
	if tools != "" {
		out = appendMessage(out, message{role: "system", text: tools}, limit)
	}
	for _, m := range messages {
		out = appendMessage(out, m, limit)
	}
	if generate {
		out = append(out, tokenStart)
		out = appendTokens(out, "assistant\n", limit)
	}
	return out[:min(len(out), limit)]
}

func appendMessage(out []token, m message, limit int) []token {
	out = append(out, tokenStart)
	out = appendTokens(out, m.role+"\n", limit)
	for range min(m.images*imageTokens, limit) {
		out = append(out, tokenImage)
	}
	out = appendTokens(out, m.text, limit)
	out = append(out, tokenEnd)
	return appendTokens(out, "\n", limit)
}

// readMessages reads a conversation. It is lenient about parts that it does not
// know, as vLLM is about roles.
func readMessages(list []any, at string, bad *flaws) []message {
	out := make([]message, 0, len(list))
	for i, e := range list {
		m, fs := readMessage(e, elementAt(at, i))
		*bad = append(*bad, fs...)
		out = append(out, m)
	}
	return out
}

func readMessage(e any, at string) (message, flaws) {
	o, ok := e.(object)
	if !ok {
		return message{}, noMessage(e, at)
	}
	m := message{}
	if m.role, ok = o.members["role"].(string); !ok {
		return m, incomplete(o, at)
	}
	c, there := o.members["content"]
	switch c := c.(type) {
	case nil:
		if there && m.role != "assistant" {
			return m, noContent(nil, at)
		}
	case string:
		m.text = validText(c)
	case []any:
		m.addParts(c)
	default:
		return m, noContent(c, at)
	}
	if calls, ok := o.members["tool_calls"].([]any); ok {
		m.text = string(appendValue([]byte(m.text), calls))
	}
	return m, nil
}

// messageKinds are the kinds of message that pydantic tries one after the other,
// and what each needs. The last is no dictionary.
func messageKinds() []struct {
	name  string
	needs []string
} {
	return []struct {
		name  string
		needs []string
	}{
		{"ChatCompletionDeveloperMessageParam", []string{"content", "role"}},
		{"ChatCompletionSystemMessageParam", []string{"content", "role"}},
		{"ChatCompletionUserMessageParam", []string{"content", "role"}},
		{"ChatCompletionAssistantMessageParam", []string{"role"}},
		{"ChatCompletionToolMessageParam", []string{"content", "role", "tool_call_id"}},
		{"ChatCompletionFunctionMessageParam", []string{"content", "name", "role"}},
		{"CustomChatCompletionMessageParam", []string{"role"}},
		{"Message", []string{"author"}},
	}
}

func noMessage(e any, at string) flaws {
	var out flaws
	for _, kind := range messageKinds() {
		f := flaw{kind: "dict_type", at: at + "." + kind.name, message: "Input should be a valid dictionary", input: e}
		if kind.name == "Message" {
			f = noObject(f.at, e)
		}
		out = append(out, f)
	}
	return out
}

func incomplete(o object, at string) flaws {
	var out flaws
	for _, kind := range messageKinds() {
		for _, name := range kind.needs {
			if _, there := o.members[name]; !there {
				out = append(out, missing(at+"."+kind.name+"."+name, o))
			}
		}
	}
	return out
}

func noContent(v any, at string) flaws {
	var out flaws
	for _, kind := range messageKinds() {
		if kind.name != "Message" {
			out = append(out, noText(at+"."+kind.name+".content", v),
				flaw{kind: "iterable_type", at: at + "." + kind.name + ".content", message: "Input should be iterable", input: v})
		}
	}
	return out
}

func (m *message) addParts(parts []any) {
	var b strings.Builder
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b.WriteString(p)
		case object:
			if s, ok := p.members["text"].(string); ok {
				b.WriteString(s)
			} else {
				m.images++
			}
		}
	}
	m.text = validText(b.String())
}
