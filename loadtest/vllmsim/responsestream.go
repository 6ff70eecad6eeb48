package vllmsim

import (
	"context"
	"net/http"
	"strconv"
)

// responseStream writes the events of /v1/responses. Each has a number.
type responseStream struct {
	server *Server
	req    *responseRequest
	job    *job
	body   *response
	out    *sse
	number int
	sent   int // tokens
	item   string
	call   *functionCall
	text   []byte
}

func (s *Server) streamResponse(ctx context.Context, w http.ResponseWriter, c *responseRequest, j *job, body *response) {
	if err := s.admit(ctx, j); err != nil {
		answerFault(w, faultOrGone(err))
		return
	}
	st := &responseStream{server: s, req: c, job: j, body: body, out: newSSE(w)}
	st.out.begin()
	st.state("response.created")
	st.state("response.in_progress")
	err := st.out.flush()
	if err == nil {
		err = s.loop.follow(ctx, j, st.write)
	} else {
		s.loop.abort(j)
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the stream is cut, whatever the reason
	}
	st.end()
	_ = st.out.flush() // the client is gone otherwise
}

// state is an event that tells the whole response.
func (st *responseStream) state(kind string) {
	st.event(kind, `"response":`+string(compact(st.body)), "")
}

// event appends an event: its fields, its number, more fields, its type.
func (st *responseStream) event(kind, fields, more string) {
	b := st.out.buf
	b = append(b, "event: "...)
	b = append(b, kind...)
	b = append(b, "\ndata: {"...)
	b = append(b, fields...)
	st.out.buf = st.close(b, kind, more)
}

func (st *responseStream) close(b []byte, kind, more string) []byte {
	b = append(b, `,"sequence_number":`...)
	b = strconv.AppendInt(b, int64(st.number), 10)
	st.number++
	b = append(b, more...)
	b = append(b, `,"type":"`...)
	b = append(b, kind...)
	return append(b, "\"}\n\n"...)
}

func (st *responseStream) write(news []update) error {
	for _, u := range news {
		q := &st.job.seqs[u.index]
		from := st.sent
		st.sent = u.generated
		if q.call != nil {
			st.tellCall(q, from, u.generated)
			continue
		}
		st.text = q.answer.append(st.text[:0], from, u.generated)
		if len(st.text) > 0 {
			st.tell()
		}
	}
	return st.out.flush()
}

// tell sends a piece of text, with the item that it belongs to before the first.
func (st *responseStream) tell() {
	if st.item == "" {
		st.item = "msg_" + st.server.newID()
		st.event("response.output_item.added", `"item":`+string(compact(newOutputMessage(st.item, "in_progress")))+`,"output_index":0`, "")
		part := newOutputText("")
		part.Logprobs = []byte("[]")
		st.event("response.content_part.added",
			`"content_index":0,"item_id":"`+st.item+`","output_index":0,"part":`+string(compact(part)), "")
	}
	const kind = "response.output_text.delta"
	b := st.out.buf
	b = append(b, "event: "+kind+"\ndata: {\"content_index\":0,\"delta\":"...)
	b = appendString(b, st.text)
	b = append(b, `,"item_id":"`...)
	b = append(b, st.item...)
	b = append(b, `","logprobs":[],"output_index":0`...)
	st.out.buf = st.close(b, kind, "")
}

func (st *responseStream) tellCall(q *sequence, from, to int) {
	old, now := from*bytesPerToken, min(to*bytesPerToken, len(q.answer.fixed))
	if old < q.call.named && now >= q.call.named {
		st.call = &functionCall{
			CallID: st.server.newCallID(), Name: q.call.name, Type: "function_call", ID: "fc_" + st.server.newID(), Status: "in_progress",
		}
		st.event("response.output_item.added", `"item":`+string(compact(st.call))+`,"output_index":0`, "")
	}
	if a, b := max(old, q.call.from), min(now, q.call.to); a < b {
		st.event("response.function_call_arguments.delta", `"delta":`+string(compact(q.answer.fixed[a:b]))+
			`,"item_id":"`+st.call.ID+`","output_index":0`, "")
	}
}

// end tells the items once more, as they have become, and the whole response.
func (st *responseStream) end() {
	q := &st.job.seqs[0]
	switch {
	case st.item != "":
		st.endText(q.answer.text(q.output))
	case st.call != nil:
		st.endCall(q.answer.fixed[q.call.from:min(q.call.to, max(q.call.from, q.output*bytesPerToken))])
	}
	st.body.finish(st.server, q, st.job.usage())
	st.state("response.completed")
	if st.req.store {
		st.server.responses.put(st.body.ID, compact(st.body))
	}
}

func (st *responseStream) endText(text string) {
	part := newOutputText(text)
	where := `"content_index":0,"item_id":"` + st.item + `"`
	st.event("response.output_text.done", where+`,"logprobs":[],"output_index":0`, `,"text":`+string(compact(text)))
	st.event("response.content_part.done", where+`,"output_index":0,"part":`+string(compact(part)), "")
	m := newOutputMessage(st.item, "completed", part)
	st.event("response.output_item.done", `"item":`+string(compact(m))+`,"output_index":0`, "")
	st.body.Output = append(st.body.Output, m)
}

func (st *responseStream) endCall(arguments string) {
	st.call.Arguments, st.call.Status = arguments, "completed"
	st.event("response.function_call_arguments.done", `"arguments":`+string(compact(arguments))+
		`,"item_id":"`+st.call.ID+`","output_index":0`, `,"name":`+string(compact(st.call.Name)))
	st.event("response.output_item.done", `"item":`+string(compact(st.call))+`,"output_index":0`, "")
	st.body.Output = append(st.body.Output, st.call)
}
