package vllmsim

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func elementAt(at string, i int) string { return at + "." + strconv.Itoa(i) }

// checkModel refuses a model that is not served. No name is the first.
func (s *Server) checkModel(name string) (string, *fault) {
	if name == "" {
		return s.cfg.Models[0], nil
	}
	if slices.Contains(s.cfg.Models, name) {
		return name, nil
	}
	aliases := strings.Join(s.cfg.Models, ", ")
	f := &fault{
		status: http.StatusNotFound, kind: typeNotFound, param: "model",
		message: fmt.Sprintf("The model `%s` does not exist. Valid aliases: %s.", name, aliases),
	}
	if s.cfg.Pooling {
		f.param, f.message = "", fmt.Sprintf("The model `%s` does not exist.", name)
	}
	return "", f
}

// checkLength refuses an answer or a prompt that is too long for the model. Of a
// text vLLM counts no more tokens than it must.
func (s *Server) checkLength(g *sampling, prompt int, text bool) *fault {
	longest := s.maxModelLen()
	if g.maxTokens != nil && *g.maxTokens > longest {
		return badValue(g.maxName, *g.maxTokens, fmt.Sprintf(
			"%s=%d cannot be greater than max_model_len=%d. Please request fewer output tokens.", g.maxName, *g.maxTokens, longest))
	}
	if prompt <= longest {
		return nil
	}
	count := strconv.Itoa(prompt)
	if text {
		prompt = longest + 1
		count = "at least " + strconv.Itoa(prompt)
	}
	return badValue("input_tokens", prompt, fmt.Sprintf("This model's maximum context length is %d tokens. "+
		"However, your prompt contains %s input tokens, which exceeds this limit even without any output tokens. "+
		"Please reduce the length of the input prompt.", longest, count))
}

// priorityOf is the request's, which a header overrides.
func priorityOf(r *http.Request, body int) int {
	if p, err := strconv.Atoi(r.Header.Get("X-Vllm-Priority")); err == nil {
		return p
	}
	return body
}

// requestID is what follows chatcmpl- or the like.
func (s *Server) requestID(r *http.Request, body string) string {
	if id := r.Header.Get("X-Request-Id"); id != "" {
		return id
	}
	if body != "" {
		return body
	}
	return s.newID()
}

// sequences are what one prompt becomes: a sequence for each choice.
func (s *Server) sequences(p *prompt, g *sampling, w want) []sequence {
	out := make([]sequence, g.n)
	limit := s.maxModelLen() - len(p.tokens)
	if g.maxTokens != nil {
		limit = min(limit, *g.maxTokens)
	}
	for i := range out {
		seed := mix(mix(s.cfg.Seed, p.hash), uint64(i))
		if g.seed != nil {
			seed = mix(seed, uint64(*g.seed)) //nolint:gosec // any bits will do
		}
		q := sequence{prompt: p, priority: g.priority, call: w.call, answer: answer{fixed: w.fixed, seed: seed, shown: -1}}
		q.plan(g, limit)
		out[i] = q
	}
	return out
}

// plan decides how the answer ends: with the token that says so, at the limit, or
// at a stop string.
func (q *sequence) plan(g *sampling, limit int) {
	q.limit, q.choices = limit, g.n
	q.output, q.finish = limit, "length"
	if !g.ignoreEOS {
		if n := max(q.answer.naturalLength(), g.minTokens+1); n <= limit {
			q.output, q.finish = n, "stop"
			q.answer.shown = (n - 1) * bytesPerToken // the last token says that it ends
			q.eos = true
		}
	}
	if n, stop, found := q.answer.cut(g.stops, q.output, g.minTokens, g.stopShown); found {
		q.output, q.stop, q.finish, q.eos = n, stop, "stop", false
	}
}

// admit hands a job to the engine, after the time that the API takes. Who admits
// has to follow.
func (s *Server) admit(ctx context.Context, j *job) error {
	if d := time.Duration(float64(s.loop.cfg.Profile.APIOverhead) / s.cfg.Speed); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := s.loop.submit(j)
	s.metrics.refused(err)
	return err
}

// finish runs a job of which only the end matters.
func (s *Server) finish(ctx context.Context, j *job) *fault {
	err := s.admit(ctx, j)
	if err == nil {
		err = s.loop.follow(ctx, j, nil)
	}
	if err == nil {
		return nil
	}
	return faultOrGone(err)
}

// faultOrGone is what to tell the client; if it is gone there is nothing to tell.
func faultOrGone(err error) *fault {
	if f := faultOf(err); f != nil {
		return f
	}
	panic(http.ErrAbortHandler) // the way net/http offers to close a connection without an answer
}

// usageBody is a usage in the form of OpenAI.
type usageBody struct {
	PromptTokens     int            `json:"prompt_tokens"`
	TotalTokens      int            `json:"total_tokens"`
	CompletionTokens int            `json:"completion_tokens"`
	PromptDetails    *promptDetails `json:"prompt_tokens_details"`
	Details          *struct{}      `json:"completion_tokens_details"`
}

type promptDetails struct {
	Cached     int  `json:"cached_tokens"`
	Created    *int `json:"created_cache_tokens"`
	Multimodal *int `json:"multimodal_tokens"`
}

func (s *Server) usageBody(u usage) usageBody {
	b := usageBody{PromptTokens: u.prompt, TotalTokens: u.prompt + u.generated, CompletionTokens: u.generated}
	if s.cfg.PromptTokensDetails {
		b.PromptDetails = &promptDetails{Cached: u.cached, Created: &u.created}
	}
	return b
}

// appendUsage appends the usage of a stream: unlike usageBody it leaves out what is
// null, and in completions what the prompt left in the cache.
func (s *Server) appendUsage(dst []byte, u usage, created bool) []byte {
	dst = appendCounts(dst, u.prompt, u.generated)
	if s.cfg.PromptTokensDetails {
		dst = append(dst, `,"prompt_tokens_details":{"cached_tokens":`...)
		dst = strconv.AppendInt(dst, int64(u.cached), 10)
		if created {
			dst = append(dst, `,"created_cache_tokens":`...)
			dst = strconv.AppendInt(dst, int64(u.created), 10)
		}
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// appendCounts appends an object's three counts, but not its end.
func appendCounts(dst []byte, prompt, generated int) []byte {
	dst = append(dst, `{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, int64(prompt), 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, int64(prompt+generated), 10)
	dst = append(dst, `,"completion_tokens":`...)
	return strconv.AppendInt(dst, int64(generated), 10)
}
