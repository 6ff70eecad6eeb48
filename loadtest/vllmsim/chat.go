package vllmsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// chatRequest is a conversation and what is wanted of it, whatever API it came by.
type chatRequest struct {
	sampling
	toolset
	format
	messages   []message
	prompt     prompt
	promptText bool // return_prompt_text
	echo       bool
	generate   bool // add_generation_prompt
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	c, f := s.readChat(r)
	if f != nil {
		answerFault(w, f)
		return
	}
	j := newJob(s.sequences(&c.prompt, &c.sampling, c.want(s.cfg.Seed)), c.stream)
	id := "chatcmpl-" + s.requestID(r, c.requestID)
	if c.stream {
		s.streamChat(r.Context(), w, c, j, id)
		return
	}
	if f := s.finish(r.Context(), j); f != nil {
		answerFault(w, f)
		return
	}
	body := s.chatBody(c, j, id)
	body.Usage = s.usageBody(j.usage())
	answerJSON(w, http.StatusOK, compact(body))
}

// want is what the answer has to be: a tool call, JSON, or words.
func (c *chatRequest) want(seed uint64) want {
	seed = mix(seed, c.prompt.hash)
	if w, ok := c.pick(c.messages[len(c.messages)-1], seed); ok {
		return w
	}
	return c.format.want(seed)
}

func (s *Server) readChat(r *http.Request) (*chatRequest, *fault) {
	f, bad := readJSON(r)
	if bad == nil {
		bad = checkChat(f)
	}
	if bad != nil {
		return nil, bad
	}
	c, bad := readChatFields(f)
	if bad != nil {
		return nil, bad
	}
	if c.model, bad = s.checkModel(c.model); bad != nil {
		return nil, bad
	}
	if c.choice == choiceAuto && !s.cfg.Tools {
		return nil, badRequest("", `"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set`)
	}
	c.priority = priorityOf(r, c.priority)
	if f.truthy("continue_final_message") && c.generate {
		return nil, badRequest("", "continue_final_message and add_generation_prompt are not compatible. Use continue_final_message "+
			"when you want the model to continue the final message, and add_generation_prompt when you want to add a header that "+
			"will prompt it to start a new assistant message instead.")
	}
	return c, s.tokenizeChat(c)
}

// checkChat is what vLLM looks at before it reads the fields.
func checkChat(f *fields) *fault {
	for _, check := range []func(*fields) *fault{checkTools, checkChatLogprobs, checkBefore, checkFormat} {
		if bad := check(f); bad != nil {
			return bad
		}
	}
	if f.truthy("continue_final_message") && f.truthy("add_generation_prompt") {
		return badRequest("", "Cannot set both `continue_final_message` and `add_generation_prompt` to True.")
	}
	return nil
}

func checkChatLogprobs(f *fields) *fault {
	if bad := checkNumbers(f, "prompt_logprobs", "top_logprobs"); bad != nil {
		return bad
	}
	if bad := checkPromptLogprobs(f); bad != nil {
		return bad
	}
	k, ok := realNumber(f.members["top_logprobs"])
	switch {
	case !ok:
	case k < 0 && k != -1:
		return badValue("top_logprobs", pyText(f.members["top_logprobs"]), "`top_logprobs` must be a positive value or -1.")
	case k != 0 && !f.truthy("logprobs"):
		return badParameter("top_logprobs", "when using `top_logprobs`, `logprobs` must be set to true.")
	}
	return nil
}

// checkNumbers refuses what Python cannot compare with a number.
func checkNumbers(f *fields, names ...string) *fault {
	for _, name := range names {
		v := f.members[name]
		if _, ok := realNumber(v); !ok && v != nil {
			return badValue(name, pyText(v), "`"+name+"` must be an integer.")
		}
	}
	return nil
}

func checkPromptLogprobs(f *fields) *fault {
	k, ok := realNumber(f.members["prompt_logprobs"])
	switch {
	case !ok:
	case f.truthy("stream") && (k > 0 || k == -1):
		return badParameter("prompt_logprobs", "`prompt_logprobs` are not available when `stream=True`.")
	case k < 0 && k != -1:
		return badValue("prompt_logprobs", pyText(f.members["prompt_logprobs"]), "`prompt_logprobs` must be a positive value or -1.")
	}
	return nil
}

func readChatFields(f *fields) (*chatRequest, *fault) {
	c := &chatRequest{}
	list, there := f.members["messages"]
	switch {
	case !there:
		f.note(missing(f.path("messages"), f.object))
	case slices.Contains([]string{"NoneType", "bool", "int", "float"}, pyType(list)):
		return nil, badRequest("", "'"+pyType(list)+"' object is not iterable")
	default:
		c.messages = readMessages(f.list("messages"), f.path("messages"), f.bad)
	}
	f.declare(declaredChat)
	bad := c.readOptions(f)
	if flawed := f.fault(); flawed != nil {
		return nil, flawed
	}
	return c, bad
}

// readOptions reads all but the messages.
func (c *chatRequest) readOptions(f *fields) *fault {
	c.sampling = readSampling(f)
	if m := f.optional("max_completion_tokens"); m != nil {
		c.maxTokens, c.maxName = m, "max_completion_tokens"
	}
	top := max(0, f.logprobs("top_logprobs"))
	if f.flag("logprobs") {
		c.logprobs = top
	}
	c.promptText, c.echo = f.flag("return_prompt_text"), f.flag("echo")
	if c.echo && c.promptLogs < 0 {
		c.promptLogs = top
	}
	c.generate = true
	if _, ok := f.members["add_generation_prompt"]; ok {
		c.generate = f.flag("add_generation_prompt")
	}
	c.toolset = f.readTools()
	var bad *fault
	if c.format, bad = f.readFormat(); bad != nil {
		return bad
	}
	return checkBias(f)
}

// tokenizeChat makes the prompt and checks what depends on its length.
func (s *Server) tokenizeChat(c *chatRequest) *fault {
	if len(c.messages) == 0 {
		return badRequest("", "Cannot apply chat template to an empty conversation. Provide at least one message.")
	}
	tokens := c.truncated(render(c.messages, c.toolset.prompt(), c.generate, s.maxModelLen()+1))
	if len(tokens) == 0 {
		return badRequest("", emptyPrompt)
	}
	if bad := s.checkLength(&c.sampling, len(tokens), true); bad != nil {
		return bad
	}
	if bad := c.check(s.maxModelLen() - len(tokens)); bad != nil {
		return bad
	}
	c.prompt = newPrompt(tokens, c.salt, s.loop.cfg.Profile.BlockSize)
	return nil
}

type chatMessage struct {
	Role         string         `json:"role"`
	Content      string         `json:"content"`
	Refusal      *struct{}      `json:"refusal"`
	Annotations  *struct{}      `json:"annotations"`
	Audio        *struct{}      `json:"audio"`
	FunctionCall *struct{}      `json:"function_call"`
	ToolCalls    []chatToolCall `json:"tool_calls,omitempty"`
	Reasoning    *struct{}      `json:"reasoning"`
}

type chatToolCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

type chatChoice struct {
	Index         int             `json:"index"`
	Message       chatMessage     `json:"message"`
	Logprobs      json.RawMessage `json:"logprobs"`
	FinishReason  string          `json:"finish_reason"`
	StopReason    *string         `json:"stop_reason"`
	TokenIDs      json.RawMessage `json:"token_ids"`
	RoutedExperts *struct{}       `json:"routed_experts"`
}

type chatCompletion struct {
	ID             string          `json:"id"`
	Object         string          `json:"object"`
	Created        int64           `json:"created"`
	Model          string          `json:"model"`
	Choices        []chatChoice    `json:"choices"`
	ServiceTier    *struct{}       `json:"service_tier"`
	Fingerprint    string          `json:"system_fingerprint"`
	Usage          usageBody       `json:"usage"`
	PromptLogprobs json.RawMessage `json:"prompt_logprobs"`
	PromptTokenIDs json.RawMessage `json:"prompt_token_ids"`
	PromptText     *string         `json:"prompt_text"`
	KVTransfer     *struct{}       `json:"kv_transfer_params"`
	ECTransfer     *struct{}       `json:"ec_transfer_params"`
	Metrics        *struct{}       `json:"metrics"`
}

// chatBody is the answer to a chat, but for its usage.
func (s *Server) chatBody(c *chatRequest, j *job, id string) chatCompletion {
	out := chatCompletion{ID: id, Object: "chat.completion", Created: time.Now().Unix(), Model: c.model, Fingerprint: fingerprint}
	for i := range j.seqs {
		out.Choices = append(out.Choices, s.chatChoice(c, &j.seqs[i], i))
	}
	if c.promptLogs >= 0 {
		out.PromptLogprobs = c.prompt.appendPromptLogprobs(nil, c.promptLogs)
	}
	if c.tokenIDs {
		out.PromptTokenIDs = appendTokens32(nil, c.prompt.tokens)
	}
	if c.promptText {
		out.PromptText = new(joinTokens(c.prompt.tokens))
	}
	return out
}

func (s *Server) chatChoice(c *chatRequest, q *sequence, index int) chatChoice {
	out := chatChoice{
		Index: index, FinishReason: q.finish, StopReason: q.stopReason(),
		Message: chatMessage{Role: "assistant", Content: q.answer.text(q.output)},
	}
	if q.called() {
		out.Message.Content = ""
		out.Message.ToolCalls = []chatToolCall{{
			ID: s.newCallID(), Type: "function", Function: chatFunction{q.call.name, q.answer.fixed[q.call.from:q.call.to]},
		}}
		out.FinishReason = c.calledReason()
	}
	if c.echo {
		if last := c.messages[len(c.messages)-1]; last.role == "assistant" {
			out.Message.Content = last.text + out.Message.Content
		}
	}
	if c.logprobs >= 0 {
		out.Logprobs = q.appendChatLogprobs(nil, 0, q.output, &c.sampling)
	}
	if c.tokenIDs {
		out.TokenIDs = q.appendTokenIDs(nil, 0, q.output)
	}
	return out
}

func (s *Server) newCallID() string { return "chatcmpl-tool-" + s.newID() }

// called reports whether the sequence is a tool call that came to its end.
func (q *sequence) called() bool { return q.call != nil && q.finish == "stop" && q.stop == "" }

// calledReason is how a choice ends that calls a tool.
func (ts *toolset) calledReason() string {
	if ts.choice == choiceNamed {
		return "stop"
	}
	return "tool_calls"
}

func (q *sequence) stopReason() *string {
	if q.stop == "" {
		return nil
	}
	return &q.stop
}
