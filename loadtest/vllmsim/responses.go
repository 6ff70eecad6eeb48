package vllmsim

import (
	"encoding/json"
	"maps"
	"net/http"
	"time"
)

// responseRequest is a body of /v1/responses.
type responseRequest struct {
	chatRequest
	raw   object // as it came; much of it is told again
	store bool
}

// createResponse is OpenAI's newer API.
func (s *Server) createResponse(w http.ResponseWriter, r *http.Request) {
	c, f := s.readResponse(r)
	if f != nil {
		answerFault(w, f)
		return
	}
	j := newJob(s.sequences(&c.prompt, &c.sampling, c.want(s.cfg.Seed)), c.stream)
	body := s.newResponse(c, &j.seqs[0])
	if c.stream {
		s.streamResponse(r.Context(), w, c, j, body)
		return
	}
	if f := s.finish(r.Context(), j); f != nil {
		answerFault(w, f)
		return
	}
	body.finish(s, &j.seqs[0], j.usage())
	out := compact(body)
	if c.store {
		s.responses.put(body.ID, out)
	}
	answerJSON(w, http.StatusOK, out)
}

func (s *Server) readResponse(r *http.Request) (*responseRequest, *fault) {
	f, bad := readJSON(r)
	if bad != nil {
		return nil, bad
	}
	if bad = checkBefore(f); bad != nil {
		return nil, bad
	}
	c := f.readResponse()
	if bad := f.fault(); bad != nil {
		return nil, bad
	}
	if c.model, bad = s.checkModel(c.model); bad != nil {
		return nil, bad
	}
	if bad = s.checkStore(f); bad != nil {
		return nil, bad
	}
	c.store = s.cfg.StoreResponses && (f.members["store"] == nil || f.flag("store"))
	c.priority = priorityOf(r, c.priority)
	return c, s.tokenizeChat(&c.chatRequest)
}

// checkStore refuses what needs earlier responses, or none to wait for.
func (s *Server) checkStore(f *fields) *fault {
	if f.truthy("background") {
		return &fault{
			status: http.StatusBadRequest, kind: typeResponses, param: "background",
			message: "This vLLM engine does not support `store=True` and therefore does not support the background mode. " +
				"To enable these features, set the environment variable `VLLM_ENABLE_RESPONSES_API_STORE=1` when launching the vLLM server.",
		}
	}
	id, _ := f.members["previous_response_id"].(string) // another kind is refused already
	if !f.has("previous_response_id") || s.responses.get(id) != nil {
		return nil
	}
	return noResponse(id)
}

func noResponse(id string) *fault {
	return &fault{
		status: http.StatusNotFound, kind: typeResponses, param: "response_id", message: "Response with id '" + id + "' not found.",
	}
}

func (f *fields) readResponse() *responseRequest {
	c := &responseRequest{raw: f.object}
	c.sampling = readSampling(f)
	c.generate, c.n, c.withUsage, c.continuous = true, 1, false, false
	c.maxTokens, c.maxName = f.optional("max_output_tokens"), "max_output_tokens"
	if s := f.text("instructions"); s != "" {
		c.messages = append(c.messages, message{role: "system", text: validText(s)})
	}
	f.declare(declaredResponse)
	in, there := f.members["input"]
	if !there {
		// vLLM has added the request's id to what it reads by now.
		f.note(missing(f.path("input"), withID(f.object)))
		return c
	}
	switch in := in.(type) {
	case string:
		c.messages = append(c.messages, message{role: "user", text: validText(in)})
	case []any:
		c.messages = append(c.messages, readItems(in)...)
	default:
		f.note(noText(f.path("input"), in))
		f.note(noList(f.path("input"), in))
	}
	c.toolset = f.responseTools()
	if o := f.child("text"); o != nil {
		if fm := o.child("format"); fm != nil {
			c.format = format{json: fm.text("type") == "json_object" || fm.text("type") == "json_schema", schema: fm.members["schema"]}
		}
	}
	return c
}

func withID(o object) object {
	members := map[string]any{"request_id": ""}
	maps.Copy(members, o.members)
	return object{members: members}
}

// readItems reads the items of an input: messages, calls and their results.
func readItems(list []any) []message {
	var out []message
	for _, e := range list {
		o, ok := e.(object)
		if !ok {
			continue
		}
		role, _ := o.members["role"].(string) // none: not a message
		switch content := o.members["content"].(type) {
		case string:
			out = append(out, message{role: role, text: validText(content)})
		case []any:
			m := message{role: role}
			m.addParts(content)
			out = append(out, m)
		default:
			out = append(out, message{role: "tool", text: string(appendValue(nil, o))})
		}
	}
	return out
}

func (f *fields) responseTools() toolset {
	ts := toolset{choice: choiceNone}
	for i, e := range f.list("tools") {
		o, ok := e.(object)
		if !ok {
			f.note(noObject(elementAt(f.path("tools"), i), e))
			continue
		}
		if o.members["type"] != "function" {
			continue // vLLM's own tools, which need servers that are not there
		}
		name, _ := o.members["name"].(string) // none: nobody calls it
		ts.tools = append(ts.tools, tool{name: name, schema: o.members["parameters"], raw: o})
		ts.choice = choiceAuto
	}
	choice, there := f.members["tool_choice"]
	if o, ok := choice.(object); ok && o.members["type"] != nil {
		ts.choice = choiceNamed
		ts.name, _ = o.members["name"].(string)
		return ts
	}
	switch s, _ := choice.(string); { // no string: no choice
	case s == choiceNone || s == choiceAuto || s == choiceRequired:
		ts.choice = s
	case there:
		f.note(noLiteral(f.path("tool_choice"), choice, choiceNone, choiceAuto, choiceRequired))
	}
	return ts
}

// getResponse tells a response again, if this server keeps them.
func (s *Server) getResponse(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if body := s.responses.get(id); body != nil {
			answerJSON(w, http.StatusOK, body)
			return
		}
		answerFault(w, noResponse(id))
	}
}

// cancelResponse never cancels: there is no background mode.
func (s *Server) cancelResponse(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if s.responses.get(id) == nil {
			answerFault(w, noResponse(id))
			return
		}
		answerFault(w, &fault{
			status: http.StatusBadRequest, kind: typeResponses, param: "response_id",
			message: "Cannot cancel a synchronous response.",
		})
	}
}

func (s *Server) newResponse(c *responseRequest, q *sequence) *response {
	id := c.requestID
	if id == "" {
		id = "resp_" + s.newID()
	}
	out := &response{
		ID: id, Created: time.Now().Unix(), Instructions: c.raw.members["instructions"], Metadata: c.raw.members["metadata"],
		Model: c.model, Object: "response", Output: []any{}, Parallel: true, Temperature: pythonFloat(c.temperature),
		ToolChoice: c.toolChoice(), Tools: c.echoTools(), TopP: pythonFloat(c.topP), MaxOutput: c.mostTokens(s, q),
		MaxToolCalls: c.raw.members["max_tool_calls"], Previous: c.raw.members["previous_response_id"],
		Prompt: c.raw.members["prompt"], Reasoning: c.reasoning(), ServiceTier: c.or("service_tier", "auto"),
		Status: "in_progress", Text: c.textFormat(), TopLogprobs: nil, Truncation: c.or("truncation", "disabled"),
		User: c.raw.members["user"], Presence: pythonFloat(c.presence), Frequency: pythonFloat(c.frequency),
	}
	if v, ok := c.raw.members["parallel_tool_calls"].(bool); ok {
		out.Parallel = v
	}
	if c.temperature == 0 {
		out.TopP = pythonFloat(1) // greedy sampling has none
	}
	return out
}

func (c *responseRequest) or(name, otherwise string) any {
	if v := c.raw.members[name]; v != nil {
		return v
	}
	return otherwise
}

func (c *responseRequest) mostTokens(s *Server, q *sequence) int {
	most := s.maxModelLen() - len(q.prompt.tokens)
	if c.maxTokens != nil {
		most = min(most, *c.maxTokens)
	}
	return most
}

func (c *responseRequest) toolChoice() any {
	if o, ok := c.raw.members["tool_choice"].(object); ok {
		return o
	}
	return c.choice
}

func (c *responseRequest) echoTools() []any {
	out := make([]any, 0, len(c.tools))
	for _, t := range c.tools {
		out = append(out, filled(t.raw, "name", "parameters", "strict", "type", "allowed_callers", "async", "defer_loading",
			"description", "output_schema"))
	}
	return out
}

func (c *responseRequest) reasoning() any {
	if o, ok := c.raw.members["reasoning"].(object); ok {
		return filled(o, "context", "effort", "generate_summary", "mode", "summary")
	}
	return nil
}

func (c *responseRequest) textFormat() any {
	if o, ok := c.raw.members["text"].(object); ok {
		return filled(o, "format", "verbosity")
	}
	return nil
}

// filled is an object with these members, null where it has none.
func filled(o object, names ...string) object {
	out := object{names: names, members: map[string]any{}}
	for _, name := range names {
		out.members[name] = o.members[name]
	}
	return out
}

// pythonFloat is a float that has a fraction even if it is whole.
func pythonFloat(f float64) json.RawMessage { return json.RawMessage(pyFloat(f)) }
