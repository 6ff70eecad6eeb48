package vllmsim

import (
	"context"
	"net/http"
	"time"
)

// chatRequest is a body of /v1/chat/completions.
type chatRequest struct {
	sampling
	messages   []message
	prompt     prompt
	fixed      string // JSON that was asked for
	promptText bool   // return_prompt_text
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	c, f := s.readChat(r)
	if f != nil {
		answerFault(w, f)
		return
	}
	j := newJob(s.sequences(&c.prompt, &c.sampling, c.fixed), c.stream)
	id := "chatcmpl-" + s.requestID(r, c.requestID)
	if c.stream {
		s.streamChat(r.Context(), w, c, j, id)
		return
	}
	if f := s.finish(r.Context(), j); f != nil {
		answerFault(w, f)
		return
	}
	answerJSON(w, http.StatusOK, compact(s.chatBody(c, j, id)))
}

// finish runs a job of which only the end matters.
func (s *Server) finish(ctx context.Context, j *job) *fault {
	err := s.run(ctx, j, nil)
	if err == nil {
		return nil
	}
	if f := faultOf(err); f != nil {
		return f
	}
	panic(http.ErrAbortHandler) // the client is gone
}

func (s *Server) readChat(r *http.Request) (*chatRequest, *fault) {
	f, bad := readJSON(r)
	if bad == nil {
		bad = checkBefore(f)
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
	c.priority = priorityOf(r, c.priority)
	tokens := render(c.messages, "", true, s.maxModelLen()+1)
	if bad = s.checkLength(&c.sampling, len(tokens)); bad == nil {
		bad = c.check()
	}
	if bad != nil {
		return nil, bad
	}
	c.prompt = newPrompt(tokens, c.salt, s.loop.cfg.Profile.BlockSize)
	return c, nil
}

func readChatFields(f *fields) (*chatRequest, *fault) {
	c := &chatRequest{}
	list, there := f.members["messages"]
	switch {
	case !there:
		f.note(missing(f.path("messages"), f.object))
	case list == nil:
		return nil, badRequest("", "'NoneType' object is not iterable")
	default:
		c.messages = readMessages(f.list("messages"), f.path("messages"), f.bad)
	}
	c.sampling = readSampling(f)
	if m := f.optional("max_completion_tokens"); m != nil {
		c.maxTokens, c.maxName = m, "max_completion_tokens"
	}
	c.promptText = f.flag("return_prompt_text")
	if bad := f.fault(); bad != nil {
		return nil, bad
	}
	if len(c.messages) == 0 {
		return nil, badRequest("", "Cannot apply chat template to an empty conversation. Provide at least one message.")
	}
	return c, nil
}

type chatMessage struct {
	Role         string    `json:"role"`
	Content      *string   `json:"content"`
	Refusal      *struct{} `json:"refusal"`
	Annotations  *struct{} `json:"annotations"`
	Audio        *struct{} `json:"audio"`
	FunctionCall *struct{} `json:"function_call"`
	Reasoning    *struct{} `json:"reasoning"`
}

type chatChoice struct {
	Index         int         `json:"index"`
	Message       chatMessage `json:"message"`
	Logprobs      any         `json:"logprobs"`
	FinishReason  string      `json:"finish_reason"`
	StopReason    *string     `json:"stop_reason"`
	TokenIDs      []token     `json:"token_ids"`
	RoutedExperts *struct{}   `json:"routed_experts"`
}

type chatCompletion struct {
	ID              string       `json:"id"`
	Object          string       `json:"object"`
	Created         int64        `json:"created"`
	Model           string       `json:"model"`
	Choices         []chatChoice `json:"choices"`
	ServiceTier     *struct{}    `json:"service_tier"`
	Fingerprint     string       `json:"system_fingerprint"`
	Usage           usageBody    `json:"usage"`
	PromptLogprobs  any          `json:"prompt_logprobs"`
	PromptTokenIDs  []token      `json:"prompt_token_ids"`
	PromptText      *string      `json:"prompt_text"`
	KVTransferParam *struct{}    `json:"kv_transfer_params"`
	ECTransferParam *struct{}    `json:"ec_transfer_params"`
	Metrics         *struct{}    `json:"metrics"`
}

func (s *Server) chatBody(c *chatRequest, j *job, id string) chatCompletion {
	out := chatCompletion{
		ID: id, Object: "chat.completion", Created: time.Now().Unix(), Model: c.model, Fingerprint: fingerprint,
		Usage: s.usageBody(j.usage()),
	}
	for i := range j.seqs {
		q := &j.seqs[i]
		text := q.answer.text(q.output)
		ch := chatChoice{
			Index: i, Message: chatMessage{Role: "assistant", Content: &text}, FinishReason: q.finish, StopReason: q.stopReason(),
		}
		out.Choices = append(out.Choices, ch)
	}
	return out
}

func (q *sequence) stopReason() *string {
	if q.stop == "" {
		return nil
	}
	return &q.stop
}
