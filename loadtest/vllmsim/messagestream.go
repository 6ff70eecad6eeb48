package vllmsim

import (
	"context"
	"net/http"
	"strconv"
)

// messageStream writes the events of Anthropic's API.
type messageStream struct {
	server *Server
	req    *chatRequest
	job    *job
	out    *sse
	id     string
	sent   int // tokens
	begun  bool
	block  bool // a content block is open
	text   []byte
}

func (s *Server) streamMessage(ctx context.Context, w http.ResponseWriter, c *chatRequest, j *job, id string) {
	if err := s.admit(ctx, j); err != nil {
		answerAnthropic(w, faultOrGone(err))
		return
	}
	st := &messageStream{server: s, req: c, job: j, out: newSSE(w), id: id}
	st.out.begin()
	if err := s.loop.follow(ctx, j, st.write); err != nil {
		faultOrGone(err)
		st.fail()
	} else {
		st.stop()
	}
	_ = st.out.flush() // the client is gone otherwise
}

func (st *messageStream) add(s string) { st.out.buf = append(st.out.buf, s...) }

// open begins an event, up to what follows its type.
func (st *messageStream) open(name string) {
	st.add("event: ")
	st.add(name)
	st.add("\ndata: {\"type\":\"")
	st.add(name)
	st.add(`"`)
}

func (st *messageStream) close() { st.add("}\n\n") }

func (st *messageStream) write(news []update) error {
	if !st.begun && len(news) > 0 {
		st.begun = true
		st.start()
	}
	for _, u := range news {
		st.tell(u)
	}
	return st.out.flush()
}

func (st *messageStream) start() {
	st.open("message_start")
	st.add(`,"message":{"id":`)
	st.out.buf = appendString(st.out.buf, []byte(validText(st.id)))
	st.add(`,"type":"message","role":"assistant","content":[],"model":`)
	st.out.buf = appendString(st.out.buf, []byte(st.req.model))
	st.add(`,"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":`)
	st.out.buf = strconv.AppendInt(st.out.buf, int64(len(st.req.prompt.tokens)), 10)
	st.add(`,"output_tokens":0}}`)
	st.close()
}

func (st *messageStream) tell(u update) {
	q := &st.job.seqs[u.index]
	from := st.sent
	st.sent = u.generated
	if q.call != nil {
		st.tellCall(q, from, u.generated)
		return
	}
	st.text = q.answer.append(st.text[:0], from, u.generated)
	if len(st.text) == 0 {
		return
	}
	if !st.block {
		st.begin(`{"type":"text","text":""}`)
	}
	st.delta("text_delta", "text", st.text)
}

func (st *messageStream) tellCall(q *sequence, from, to int) {
	old, now := from*bytesPerToken, min(to*bytesPerToken, len(q.answer.fixed))
	if old < q.call.named && now >= q.call.named {
		name := appendString(nil, []byte(q.call.name))
		st.begin(`{"type":"tool_use","id":"` + st.server.newCallID() + `","name":` + string(name) + `,"input":{}}`)
	}
	if a, b := max(old, q.call.from), min(now, q.call.to); a < b {
		st.delta("input_json_delta", "partial_json", []byte(q.answer.fixed[a:b]))
	}
}

func (st *messageStream) begin(block string) {
	st.block = true
	st.open("content_block_start")
	st.add(`,"content_block":`)
	st.add(block)
	st.add(`,"index":0`)
	st.close()
}

func (st *messageStream) delta(kind, field string, text []byte) {
	st.open("content_block_delta")
	st.add(`,"delta":{"type":"`)
	st.add(kind)
	st.add(`","`)
	st.add(field)
	st.add(`":`)
	st.out.buf = appendString(st.out.buf, text)
	st.add(`},"index":0`)
	st.close()
}

func (st *messageStream) stop() {
	if st.block {
		st.open("content_block_stop")
		st.add(`,"index":0`)
		st.close()
	}
	q := &st.job.seqs[0]
	st.open("message_delta")
	st.add(`,"delta":{"stop_reason":"`)
	st.add(q.anthropicReason())
	st.add(`","stop_sequence":`)
	st.out.buf = appendOptional(st.out.buf, q.stop)
	st.add(`},"usage":`)
	st.out.buf = append(st.out.buf, compact(st.server.messageUsage(st.job.usage()))...)
	st.close()
	st.open("message_stop")
	st.close()
}

// fail is how vLLM stumbles over its own engine's error, which it does not expect
// in the stream of the chat below: it tells what pydantic says of it.
func (st *messageStream) fail() {
	const lack = `\n  Field required [type=missing, input_value={'error': {'message': 'En...am': None, 'code': 500}}, input_type=dict]` +
		`\n    For further information visit https://errors.pydantic.dev/2.14/v/missing`
	st.open("error")
	st.add(`,"error":{"type":"internal_error","message":"2 validation errors for ChatCompletionStreamResponse\nmodel` +
		lack + `\nchoices` + lack + `"}`)
	st.close()
}
