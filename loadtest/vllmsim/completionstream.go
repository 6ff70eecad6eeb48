package vllmsim

import (
	"context"
	"net/http"
	"strconv"
)

// completionStream writes a completion's chunks. Unlike a chat's there is one for
// every piece of news, even if it has no text.
type completionStream struct {
	server   *Server
	req      *completionRequest
	job      *job
	out      *sse
	head     []byte
	sent     []int // tokens of each sequence; -1: not begun
	tableaus []tableau
	text     []byte
}

func (s *Server) streamCompletion(ctx context.Context, w http.ResponseWriter, c *completionRequest, j *job, id string) {
	if err := s.admit(ctx, j); err != nil {
		answerFault(w, faultOrGone(err))
		return
	}
	st := &completionStream{server: s, req: c, job: j, out: newSSE(w), sent: make([]int, len(j.seqs))}
	st.head = chunkHead(id, "text_completion", c.model)
	for i := range st.sent {
		st.sent[i] = -1
	}
	if c.logprobs >= 0 {
		st.tableaus = make([]tableau, len(j.seqs))
	}
	st.out.begin()
	if err := s.loop.follow(ctx, j, st.write); err != nil {
		st.out.data(faultOrGone(err).spaced())
	} else {
		st.usage()
	}
	st.out.done()
	_ = st.out.flush() // the client is gone otherwise
}

func (st *completionStream) write(news []update) error {
	for _, u := range news {
		st.chunk(u)
	}
	return st.out.flush()
}

func (st *completionStream) chunk(u update) {
	q := &st.job.seqs[u.index]
	first := st.sent[u.index] < 0
	from := max(0, st.sent[u.index])
	st.sent[u.index] = u.generated
	b := st.out.buf
	b = append(b, st.head...)
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(u.index), 10)
	st.text = st.text[:0]
	if first && st.req.echo {
		st.text = append(st.text, joinTokens(q.prompt.tokens)...)
	}
	st.text = q.answer.append(st.text, from, u.generated)
	b = append(b, `,"text":`...)
	b = appendString(b, st.text)
	b = append(b, `,"logprobs":`...)
	b = st.logprobs(b, u, from)
	if u.done {
		b = append(b, `,"finish_reason":"`...)
		b = append(b, q.finish...)
		b = append(b, `","stop_reason":`...)
		b = appendOptional(b, q.stop)
	} else {
		b = append(b, `,"finish_reason":null,"stop_reason":null`...)
	}
	b = append(b, `,"prompt_token_ids":`...)
	if first && (st.req.echo || st.req.tokenIDs) {
		b = appendTokens32(b, q.prompt.tokens)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"token_ids":`...)
	if st.req.tokenIDs {
		b = q.appendTokenIDs(b, from, u.generated)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, "}]"...)
	st.out.buf = st.tail(b, q, u)
}

func (st *completionStream) logprobs(b []byte, u update, from int) []byte {
	if st.req.logprobs < 0 {
		return append(b, "null"...)
	}
	tb := &st.tableaus[u.index]
	tb.g = &st.req.sampling
	st.req.addLogprobs(tb, &st.job.seqs[u.index], from, u.generated)
	return tb.append(b)
}

func (st *completionStream) tail(b []byte, q *sequence, u update) []byte {
	if st.req.continuous {
		b = append(b, `,"usage":`...)
		b = append(appendCounts(b, len(q.prompt.tokens), u.generated), '}')
	}
	if u.done && !st.req.withUsage {
		b = append(b, `,"system_fingerprint":"`+fingerprint+`"`...)
	}
	return append(b, "}\n\n"...)
}

func (st *completionStream) usage() {
	if !st.req.withUsage {
		return
	}
	b := st.out.buf
	b = append(b, st.head...)
	b = append(b, `],"usage":`...)
	b = st.server.appendUsage(b, st.job.usage(), false)
	b = append(b, `,"system_fingerprint":"`+fingerprint+"\"}\n\n"...)
	st.out.buf = b
}
