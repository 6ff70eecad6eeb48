package vllmsim

import (
	"encoding/json"
	"net/http"
)

// createMessage is Anthropic's API. vLLM turns a request into a chat, and so does
// this.
func (s *Server) createMessage(w http.ResponseWriter, r *http.Request) {
	c, f := s.readMessageRequest(r, true)
	if f != nil {
		answerAnthropic(w, f)
		return
	}
	j := newJob(s.sequences(&c.prompt, &c.sampling, c.want(s.cfg.Seed)), c.stream)
	id := "chatcmpl-" + s.requestID(r, "")
	if c.stream {
		s.streamMessage(r.Context(), w, c, j, id)
		return
	}
	if f := s.finish(r.Context(), j); f != nil {
		answerAnthropic(w, f)
		return
	}
	answerJSON(w, http.StatusOK, compact(s.messageBody(c, j, id)))
}

func (s *Server) countMessageTokens(w http.ResponseWriter, r *http.Request) {
	c, f := s.readMessageRequest(r, false)
	if f != nil {
		answerAnthropic(w, f)
		return
	}
	type context struct {
		Original int `json:"original_input_tokens"`
	}
	answerJSON(w, http.StatusOK, compact(struct {
		Input   int     `json:"input_tokens"`
		Context context `json:"context_management"`
	}{len(c.prompt.tokens), context{len(c.prompt.tokens)}}))
}

func answerAnthropic(w http.ResponseWriter, f *fault) { answerJSON(w, f.status, f.anthropic()) }

// readMessageRequest reads a request for an answer, or only for its tokens.
func (s *Server) readMessageRequest(r *http.Request, answer bool) (*chatRequest, *fault) {
	f, bad := readJSON(r)
	if bad != nil {
		return nil, bad
	}
	c := f.readAnthropic(answer)
	if bad := f.fault(); bad != nil {
		return nil, bad
	}
	if c.model, bad = s.checkModel(c.model); bad != nil {
		return nil, bad
	}
	if c.choice == choiceAuto && !s.cfg.Tools {
		c.choice = choiceNone
	}
	c.priority = priorityOf(r, 0)
	return c, s.tokenizeChat(c)
}

func (f *fields) readAnthropic(answer bool) *chatRequest {
	needed := []string{"model", "messages"}
	if answer {
		needed = append(needed, "max_tokens")
	}
	for _, name := range needed {
		if _, there := f.members[name]; !there {
			f.note(missing(f.path(name), f.object))
		}
	}
	f.declare(map[bool]string{true: declaredMessage, false: declaredCount}[answer])
	if f.members["model"] == "" {
		f.note(flaw{
			kind: "value_error", at: f.path("model"), message: "Value error, Model is required",
			input: "", context: "{'error': ValueError('Model is required')}",
		})
	}
	c := &chatRequest{generate: true}
	c.sampling = sampling{
		model: f.text("model"), n: 1, maxName: "max_completion_tokens", logprobs: -1, promptLogs: -1, stream: f.flag("stream"),
		temperature: f.float("temperature", 1), topP: f.float("top_p", 1), topK: f.integer("top_k", 0), repetition: 1,
	}
	if answer {
		c.maxTokens = f.optional("max_tokens")
	}
	if c.maxTokens != nil && *c.maxTokens < 1 {
		f.note(flaw{
			kind: "value_error", at: f.path("max_tokens"), message: "Value error, max_tokens must be positive",
			input: f.members["max_tokens"], context: "{'error': ValueError('max_tokens must be positive')}",
		})
	}
	for _, e := range f.list("stop_sequences") {
		if s, ok := e.(string); ok {
			c.stops = append(c.stops, s)
		}
	}
	if m := f.block("system"); m.text != "" {
		m.role = "system"
		c.messages = append(c.messages, m)
	}
	c.messages = append(c.messages, f.anthropicMessages()...)
	c.toolset = f.anthropicTools()
	return c
}

func (f *fields) anthropicMessages() []message {
	var out []message
	at := f.path("messages")
	for i, e := range f.list("messages") {
		at := elementAt(at, i)
		o, ok := e.(object)
		if !ok {
			f.note(noObject(at, e))
			continue
		}
		of := &fields{object: o, at: at, bad: f.bad}
		m := of.block("content")
		m.role = of.text("role")
		out = append(out, m)
	}
	return out
}

// block is a text or a list of content blocks.
func (f *fields) block(name string) message {
	var m message
	switch v := f.members[name].(type) {
	case nil:
	case string:
		m.text = validText(v)
	case []any:
		for _, e := range v {
			m.addBlock(e)
		}
	default:
		f.note(noText(f.path(name), v))
		f.note(noList(f.path(name), v))
	}
	return m
}

func (m *message) addBlock(e any) {
	o, ok := e.(object)
	if !ok {
		return
	}
	switch o.members["type"] {
	case "text":
		s, _ := o.members["text"].(string) // no text: nothing is added
		m.text += validText(s)
	case "image":
		m.images++
	default:
		m.text = string(appendValue([]byte(m.text), o))
	}
}

func (f *fields) anthropicTools() toolset {
	ts := toolset{choice: choiceNone}
	for i, e := range f.list("tools") {
		at := elementAt(f.path("tools"), i)
		o, ok := e.(object)
		if !ok {
			f.note(noObject(at, e))
			continue
		}
		of := &fields{object: o, at: at, bad: f.bad}
		if _, there := o.members["name"]; !there {
			f.note(missing(of.path("name"), o))
		}
		ts.tools = append(ts.tools, tool{name: of.text("name"), schema: o.members["input_schema"], raw: o})
		ts.choice = choiceAuto
	}
	choice := f.child("tool_choice")
	if choice == nil {
		return ts
	}
	if !choice.has("type") {
		f.note(missing(choice.path("type"), choice.object))
	}
	if len(ts.tools) == 0 {
		return ts
	}
	switch choice.text("type") {
	case "none":
		ts.choice = choiceNone
	case "any":
		ts.choice = choiceRequired
	case "tool":
		ts.choice, ts.name = choiceNamed, choice.text("name")
	}
	return ts
}

type messageUsage struct {
	Input   int  `json:"input_tokens"`
	Output  int  `json:"output_tokens"`
	Created *int `json:"cache_creation_input_tokens,omitempty"`
	Read    *int `json:"cache_read_input_tokens,omitempty"`
}

// messageUsage counts what came from the cache and what went there beside the
// input, where a chat counts it within.
func (s *Server) messageUsage(u usage) messageUsage {
	out := messageUsage{Input: u.prompt, Output: u.generated}
	if s.cfg.PromptTokensDetails {
		out.Input -= u.cached + u.created
		out.Created, out.Read = &u.created, &u.cached
	}
	return out
}

type textBlock struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type toolBlock struct {
	Type  string          `json:"type"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
}

type messageAnswer struct {
	ID           string       `json:"id"`
	Type         string       `json:"type"`
	Role         string       `json:"role"`
	Content      []any        `json:"content"`
	Model        string       `json:"model"`
	StopReason   string       `json:"stop_reason"`
	StopSequence string       `json:"stop_sequence,omitempty"`
	Usage        messageUsage `json:"usage"`
}

func (s *Server) messageBody(c *chatRequest, j *job, id string) messageAnswer {
	q := &j.seqs[0]
	out := messageAnswer{
		ID: id, Type: "message", Role: "assistant", Model: c.model, StopReason: q.anthropicReason(), StopSequence: q.stop,
		Usage: s.messageUsage(j.usage()),
	}
	if q.called() {
		args := json.RawMessage(q.answer.fixed[q.call.from:q.call.to])
		out.Content = []any{toolBlock{"tool_use", s.newCallID(), q.call.name, args}}
	} else {
		out.Content = []any{textBlock{"text", q.answer.text(q.output)}}
	}
	return out
}

func (q *sequence) anthropicReason() string {
	switch {
	case q.finish == "length":
		return "max_tokens"
	case q.called():
		return "tool_use"
	case q.stop != "":
		return "stop_sequence"
	}
	return "end_turn"
}
