package vllmsim

import (
	"encoding/json"
	"net/http"
	"time"
)

// completionRequest is a body of /v1/completions.
type completionRequest struct {
	sampling
	format
	inputs  []input
	prompts []prompt
	echo    bool
	bare    bool // max_tokens 0 with echo: nothing of the one token is shown
}

// defaultMaxTokens is OpenAI's of old.
const defaultMaxTokens = 16

func (s *Server) completions(w http.ResponseWriter, r *http.Request) {
	c, f := s.readCompletion(r)
	if f != nil {
		answerFault(w, f)
		return
	}
	j := newJob(s.completionSequences(c), c.stream)
	id := "cmpl-" + s.requestID(r, c.requestID)
	if c.stream {
		s.streamCompletion(r.Context(), w, c, j, id)
		return
	}
	if f := s.finish(r.Context(), j); f != nil {
		answerFault(w, f)
		return
	}
	answerJSON(w, http.StatusOK, compact(s.completionBody(c, j, id)))
}

func (s *Server) completionSequences(c *completionRequest) []sequence {
	seqs := make([]sequence, 0, len(c.prompts)*c.n)
	for i := range c.prompts {
		p := &c.prompts[i]
		seqs = append(seqs, s.sequences(p, &c.sampling, c.want(mix(s.cfg.Seed, p.hash)))...)
	}
	if c.bare {
		for i := range seqs {
			seqs[i].answer.shown, seqs[i].finish, seqs[i].eos = 0, "length", false
		}
	}
	return seqs
}

func (s *Server) readCompletion(r *http.Request) (*completionRequest, *fault) {
	f, bad := readJSON(r)
	if bad == nil {
		bad = checkCompletion(f)
	}
	if bad != nil {
		return nil, bad
	}
	c, bad := readCompletionFields(f)
	if bad != nil {
		return nil, bad
	}
	if c.model, bad = s.checkModel(c.model); bad != nil {
		return nil, bad
	}
	if f.has("suffix") {
		return nil, badRequest("suffix", "suffix is only supported for models with FIM completion rendering")
	}
	c.priority = priorityOf(r, c.priority)
	return c, s.tokenizeCompletion(c)
}

// checkCompletion is what vLLM looks at before it reads the fields.
func checkCompletion(f *fields) *fault {
	for _, check := range []func(*fields) *fault{checkBefore, checkPromptLogprobs, checkFormat} {
		if bad := check(f); bad != nil {
			return bad
		}
	}
	if bad := checkNumbers(f, "logprobs", "prompt_logprobs"); bad != nil {
		return bad
	}
	if k, ok := realNumber(f.members["logprobs"]); ok && k < 0 && k != -1 {
		return badValue("logprobs", pyText(f.members["logprobs"]), "`logprobs` must be a positive value or -1.")
	}
	if v := f.members["prompt"]; v == nil || v == "" {
		return badParameter("prompt", "Either prompt or prompt_embeds must be provided and non-empty.")
	}
	return nil
}

func readCompletionFields(f *fields) (*completionRequest, *fault) {
	f.declare(declaredCompletion)
	c := &completionRequest{sampling: readSampling(f), echo: f.flag("echo")}
	c.logprobs = f.logprobs("logprobs")
	if c.maxTokens == nil {
		c.maxTokens = new(defaultMaxTokens)
	}
	if c.bare = c.echo && *c.maxTokens == 0; c.bare {
		c.maxTokens = new(1)
	}
	if c.echo && c.logprobs >= 0 && c.promptLogs < 0 {
		c.promptLogs = c.logprobs
	}
	var ok bool
	var bad, other *fault
	if c.inputs, bad, ok = readInputs(f.members["prompt"]); !ok {
		at, v := f.path("prompt"), f.members["prompt"]
		f.note(noList(at, v))
		f.note(noList(at, v))
		f.note(noText(at, v))
		f.note(noList(at, v))
	}
	c.format, other = f.readFormat()
	if flawed := f.fault(); flawed != nil {
		return nil, flawed
	}
	for _, fault := range []*fault{other, bad, checkBias(f)} {
		if fault != nil {
			return nil, fault
		}
	}
	return c, nil
}

func (s *Server) tokenizeCompletion(c *completionRequest) *fault {
	if len(c.inputs) == 0 {
		return badRequest("", "You must pass at least one prompt")
	}
	for _, in := range c.inputs {
		tokens, bad := s.tokenizeInput(in, &c.sampling)
		if bad == nil {
			bad = c.check(s.maxModelLen() - len(tokens))
		}
		if bad != nil {
			return bad
		}
		c.prompts = append(c.prompts, newPrompt(tokens, c.salt, s.loop.cfg.Profile.BlockSize))
	}
	return nil
}

type completionChoice struct {
	Index          int             `json:"index"`
	Text           string          `json:"text"`
	Logprobs       json.RawMessage `json:"logprobs"`
	FinishReason   string          `json:"finish_reason"`
	StopReason     *string         `json:"stop_reason"`
	TokenIDs       json.RawMessage `json:"token_ids"`
	PromptLogprobs json.RawMessage `json:"prompt_logprobs"`
	PromptTokenIDs json.RawMessage `json:"prompt_token_ids"`
	RoutedExperts  *struct{}       `json:"routed_experts"`
}

type completion struct {
	ID          string             `json:"id"`
	Object      string             `json:"object"`
	Created     int64              `json:"created"`
	Model       string             `json:"model"`
	Choices     []completionChoice `json:"choices"`
	ServiceTier *struct{}          `json:"service_tier"`
	Fingerprint string             `json:"system_fingerprint"`
	Usage       usageBody          `json:"usage"`
	KVTransfer  *struct{}          `json:"kv_transfer_params"`
	ECTransfer  *struct{}          `json:"ec_transfer_params"`
	Metrics     *struct{}          `json:"metrics"`
}

func (s *Server) completionBody(c *completionRequest, j *job, id string) completion {
	out := completion{
		ID: id, Object: "text_completion", Created: time.Now().Unix(), Model: c.model, Fingerprint: fingerprint,
		Usage: s.usageBody(j.usage()),
	}
	if out.Usage.PromptDetails != nil {
		out.Usage.PromptDetails.Created = nil // completions do not tell
	}
	for i := range j.seqs {
		out.Choices = append(out.Choices, c.choice(&j.seqs[i], i))
	}
	return out
}

func (c *completionRequest) choice(q *sequence, index int) completionChoice {
	out := completionChoice{Index: index, Text: q.answer.text(q.output), FinishReason: q.finish, StopReason: q.stopReason()}
	if c.echo {
		out.Text = joinTokens(q.prompt.tokens) + out.Text
	}
	if c.logprobs >= 0 {
		tb := tableau{g: &c.sampling}
		c.addLogprobs(&tb, q, 0, q.output)
		out.Logprobs = tb.append(nil)
	}
	if c.promptLogs >= 0 {
		out.PromptLogprobs = q.prompt.appendPromptLogprobs(nil, c.promptLogs)
	}
	if c.tokenIDs {
		out.TokenIDs, out.PromptTokenIDs = q.appendTokenIDs(nil, 0, q.output), appendTokens32(nil, q.prompt.tokens)
	}
	return out
}

// addLogprobs adds the tokens from up to, but not including, to; before the first
// the prompt's, if it is echoed.
func (c *completionRequest) addLogprobs(tb *tableau, q *sequence, from, to int) {
	if from == 0 && c.echo {
		for at, t := range q.prompt.tokens {
			tb.add(t, q.prompt.hash, at, at == 0)
		}
	}
	if c.bare {
		return
	}
	for t := from; t < to; t++ {
		tb.add(q.tokenAt(t), q.answer.seed, t, false)
	}
}
