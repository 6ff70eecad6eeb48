package vllmsim

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// chatStream writes a chat completion's chunks.
type chatStream struct {
	server *Server
	req    *chatRequest
	job    *job
	out    *sse
	head   []byte // of every chunk, up to its choices
	sent   []int  // tokens of each sequence
	text   []byte
	begun  bool
}

func (s *Server) streamChat(ctx context.Context, w http.ResponseWriter, c *chatRequest, j *job, id string) {
	if err := s.admit(ctx, j); err != nil {
		answerFault(w, faultOrGone(err))
		return
	}
	st := &chatStream{server: s, req: c, job: j, out: newSSE(w), sent: make([]int, len(j.seqs))}
	st.head = chunkHead(id, "chat.completion.chunk", c.model)
	st.out.begin()
	if err := s.loop.follow(ctx, j, st.write); err != nil {
		st.out.data(faultOrGone(err).spaced())
	} else {
		st.usage()
	}
	st.out.done()
	_ = st.out.flush() // the client is gone otherwise
}

// chunkHead is the beginning of every chunk, up to its choices.
func chunkHead(id, kind, model string) []byte {
	dst := []byte(`data: {"id":`)
	dst = appendString(dst, []byte(validText(id)))
	dst = append(dst, `,"object":"`+kind+`","created":`...)
	dst = strconv.AppendInt(dst, time.Now().Unix(), 10)
	dst = append(dst, `,"model":`...)
	dst = appendString(dst, []byte(model))
	return append(dst, `,"choices":[`...)
}

// write sends what is new of the sequences.
func (st *chatStream) write(news []update) error {
	if !st.begun && len(news) > 0 {
		st.begun = true
		st.first()
	}
	for _, u := range news {
		st.tell(u)
	}
	return st.out.flush()
}

// first is the chunks that tell the role, and the echo if it is wanted.
func (st *chatStream) first() {
	for i := range st.job.seqs {
		st.open(i)
		st.add(`,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`)
		st.counts(0)
		st.add(`,"prompt_token_ids":`)
		if st.req.tokenIDs {
			st.out.buf = appendTokens32(st.out.buf, st.req.prompt.tokens)
		} else {
			st.add("null")
		}
		st.add(`,"prompt_text":`)
		if st.req.promptText {
			st.out.buf = appendString(st.out.buf, []byte(joinTokens(st.req.prompt.tokens)))
		} else {
			st.add("null")
		}
		st.close()
	}
	last := st.req.messages[len(st.req.messages)-1]
	if !st.req.echo || last.role != "assistant" || last.text == "" {
		return
	}
	for i := range st.job.seqs {
		st.open(i)
		st.add(`,"delta":{"content":`)
		st.out.buf = appendString(st.out.buf, []byte(last.text))
		st.add(`},"logprobs":null,"finish_reason":null}]`)
		st.counts(0)
		st.close()
	}
}

func (st *chatStream) add(s string) { st.out.buf = append(st.out.buf, s...) }

func (st *chatStream) open(i int) {
	st.out.buf = append(st.out.buf, st.head...)
	st.add(`{"index":`)
	st.out.buf = strconv.AppendInt(st.out.buf, int64(i), 10)
}

func (st *chatStream) close() { st.add("}\n\n") }

// counts is the usage of a chunk, if every chunk is to have one.
func (st *chatStream) counts(generated int) {
	if st.req.continuous {
		st.add(`,"usage":`)
		st.out.buf = appendCounts(st.out.buf, len(st.req.prompt.tokens), generated)
		st.add(`,"completion_tokens_details":null}`)
	}
}

// tell writes the chunks of a sequence's new tokens. With a parser of tool calls,
// tokens without text have none.
func (st *chatStream) tell(u update) {
	q := &st.job.seqs[u.index]
	from := st.sent[u.index]
	st.sent[u.index] = u.generated
	if q.call != nil {
		st.tellCall(q, u, from)
		if u.done {
			st.chunk(u, from, nil)
		}
		return
	}
	st.text = q.answer.append(st.text[:0], from, u.generated)
	silent := len(st.text) == 0 && st.server.cfg.Tools && st.req.logprobs < 0 && !st.req.tokenIDs
	if u.done || !silent {
		st.chunk(u, from, st.text)
	}
}

// tellCall writes the chunks of a tool call: its name, then pieces of its arguments.
func (st *chatStream) tellCall(q *sequence, u update, from int) {
	c := q.call
	old, now := from*bytesPerToken, min(u.generated*bytesPerToken, len(q.answer.fixed))
	if old < c.named && now >= c.named {
		st.open(u.index)
		st.add(`,"delta":{"content":null,"tool_calls":[{"id":"` + st.server.newCallID() + `","type":"function","index":0,"function":{"name":`)
		st.out.buf = appendString(st.out.buf, []byte(c.name))
		st.add(`}}]},"logprobs":null,"finish_reason":null,"token_ids":null}]`)
		st.counts(u.generated)
		st.close()
	}
	if a, b := max(old, c.from), min(now, c.to); a < b {
		st.open(u.index)
		st.add(`,"delta":{"content":null,"tool_calls":[{"index":0,"function":{"arguments":`)
		st.out.buf = appendString(st.out.buf, []byte(q.answer.fixed[a:b]))
		st.add(`}}]},"logprobs":null,"finish_reason":null,"token_ids":null}]`)
		st.counts(u.generated)
		st.close()
	}
}

func (st *chatStream) chunk(u update, from int, text []byte) {
	q := &st.job.seqs[u.index]
	st.open(u.index)
	st.add(`,"delta":{`)
	if len(text) > 0 || !st.server.cfg.Tools {
		st.add(`"content":`)
		st.out.buf = appendString(st.out.buf, text)
	}
	st.add(`},"logprobs":`)
	if st.req.logprobs >= 0 {
		st.out.buf = q.appendChatLogprobs(st.out.buf, from, u.generated, &st.req.sampling)
	} else {
		st.add("null")
	}
	if u.done {
		st.finished(q)
	} else {
		st.add(`,"finish_reason":null`)
	}
	st.add(`,"token_ids":`)
	if st.req.tokenIDs {
		st.out.buf = q.appendTokenIDs(st.out.buf, from, u.generated)
	} else {
		st.add("null")
	}
	st.add("}]")
	st.counts(u.generated)
	if u.done && !st.req.withUsage {
		st.add(`,"system_fingerprint":"` + fingerprint + `"`)
	}
	st.close()
}

func (st *chatStream) finished(q *sequence) {
	reason := q.finish
	if q.called() {
		reason = st.req.calledReason()
	}
	st.add(`,"finish_reason":"`)
	st.add(reason)
	st.add(`","stop_reason":`)
	st.out.buf = appendOptional(st.out.buf, q.stop)
}

// usage is the chunk that ends a stream, if it was asked for.
func (st *chatStream) usage() {
	if !st.req.withUsage {
		return
	}
	st.out.buf = append(st.out.buf, st.head...)
	st.add(`],"usage":`)
	st.out.buf = st.server.appendUsage(st.out.buf, st.job.usage(), true)
	st.add(`,"system_fingerprint":"` + fingerprint + `"`)
	st.close()
}

// appendOptional appends a string, or null for an empty one.
func appendOptional(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendString(dst, []byte(validText(s)))
}
