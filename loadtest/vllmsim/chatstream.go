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
	st := &chatStream{server: s, req: c, job: j, out: newSSE(w), sent: make([]int, len(j.seqs))}
	st.head = append(st.head, `data: {"id":`...)
	st.head = appendString(st.head, []byte(validText(id)))
	st.head = append(st.head, `,"object":"chat.completion.chunk","created":`...)
	st.head = strconv.AppendInt(st.head, time.Now().Unix(), 10)
	st.head = append(st.head, `,"model":`...)
	st.head = appendString(st.head, []byte(c.model))
	st.head = append(st.head, `,"choices":[`...)
	err := s.run(ctx, j, st.write)
	switch f := faultOf(err); {
	case err == nil:
		st.end()
	case f == nil:
		panic(http.ErrAbortHandler) // the client is gone
	case !st.begun:
		answerFault(w, f)
	default:
		st.out.data(f.spaced())
		st.out.done()
		_ = st.out.flush() // the client is gone otherwise
	}
}

// write sends what is new of the sequences.
func (st *chatStream) write(news []update) error {
	if !st.begun && len(news) > 0 {
		st.begun = true
		for i := range st.job.seqs {
			st.first(i)
		}
	}
	for _, u := range news {
		st.chunk(u)
	}
	return st.out.flush()
}

// first is the chunk that tells the role.
func (st *chatStream) first(i int) {
	b := st.open(i)
	b = append(b, `,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`...)
	if st.req.continuous {
		b = append(b, `,"usage":`...)
		b = appendCounts(b, len(st.req.prompt.tokens), 0)
		b = append(b, `,"completion_tokens_details":null}`...)
	}
	b = append(b, `,"prompt_token_ids":null,"prompt_text":null}`...)
	st.out.buf = append(b, "\n\n"...)
}

func (st *chatStream) open(i int) []byte {
	b := append(st.out.buf, st.head...)
	b = append(b, `{"index":`...)
	return strconv.AppendInt(b, int64(i), 10)
}

// chunk tells the new tokens of a sequence. Tokens without text have none.
func (st *chatStream) chunk(u update) {
	q := &st.job.seqs[u.index]
	st.text = q.answer.append(st.text[:0], st.sent[u.index], u.generated)
	st.sent[u.index] = u.generated
	if len(st.text) == 0 && !u.done {
		return
	}
	b := st.open(u.index)
	b = append(b, `,"delta":{`...)
	if len(st.text) > 0 {
		b = append(b, `"content":`...)
		b = appendString(b, st.text)
	}
	b = append(b, `},"logprobs":null`...)
	if u.done {
		b = append(b, `,"finish_reason":`...)
		b = appendString(b, []byte(q.finish))
		b = append(b, `,"stop_reason":`...)
		b = appendOptional(b, q.stop)
	} else {
		b = append(b, `,"finish_reason":null`...)
	}
	b = append(b, `,"token_ids":null}]`...)
	if st.req.continuous {
		b = append(b, `,"usage":`...)
		b = appendCounts(b, len(st.req.prompt.tokens), u.generated)
		b = append(b, `,"completion_tokens_details":null}`...)
	}
	if u.done && !st.req.usage {
		b = append(b, `,"system_fingerprint":"`+fingerprint+`"`...)
	}
	st.out.buf = append(b, "}\n\n"...)
}

// end sends the usage, if it was asked for, and the end of the stream.
func (st *chatStream) end() {
	if st.req.usage {
		b := append(st.out.buf, st.head...)
		b = append(b, `],"usage":`...)
		b = st.server.appendUsage(b, st.job.usage())
		st.out.buf = append(b, `,"system_fingerprint":"`+fingerprint+"\"}\n\n"...)
	}
	st.out.done()
	_ = st.out.flush() // the client is gone otherwise
}

// appendOptional appends a string, or null for an empty one.
func appendOptional(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendString(dst, []byte(s))
}
