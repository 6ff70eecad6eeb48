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
		return message{}, eachKind(at, func(at string) flaw {
			return flaw{kind: "dict_type", at: at, message: "Input should be a valid dictionary", input: e}
		})
	}
	m := message{}
	role, ok := o.members["role"].(string)
	if !ok {
		return m, eachKind(at, func(at string) flaw { return missing(at+".role", o) })
	}
	m.role = role
	switch c := o.members["content"].(type) {
	case nil:
		if _, there := o.members["content"]; there && role != "assistant" {
			return m, eachKind(at, func(at string) flaw { return noText(at+".content", nil) })
		}
	case string:
		m.text = validText(c)
	case []any:
		m.addParts(c)
	default:
		return m, eachKind(at, func(at string) flaw { return noText(at+".content", c) })
	}
	if calls, ok := o.members["tool_calls"].([]any); ok {
		m.text += pyText(calls)
	}
	return m, nil
}

// eachKind is a flaw for every kind of message that pydantic tries.
func eachKind(at string, f func(at string) flaw) flaws {
	var out flaws
	for _, kind := range []string{
		"ChatCompletionDeveloperMessageParam", "ChatCompletionSystemMessageParam", "ChatCompletionUserMessageParam",
		"ChatCompletionAssistantMessageParam", "ChatCompletionToolMessageParam", "ChatCompletionFunctionMessageParam",
		"CustomChatCompletionMessageParam", "Message",
	} {
		out = append(out, f(at+"."+kind))
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
