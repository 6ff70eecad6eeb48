package vllmsim

import (
	"fmt"
	"net/http"
)

// chatBatch answers many conversations in one body. It never streams and calls no
// tools, whatever the body says.
func (s *Server) chatBatch(w http.ResponseWriter, r *http.Request) {
	chats, f := s.readBatch(r)
	if f != nil {
		answerFault(w, f)
		return
	}
	var seqs []sequence
	for i := range chats {
		c := &chats[i]
		seqs = append(seqs, s.sequences(&c.prompt, &c.sampling, c.format.want(mix(s.cfg.Seed, c.prompt.hash)))...)
	}
	j := newJob(seqs, false)
	if f := s.finish(r.Context(), j); f != nil {
		answerFault(w, f)
		return
	}
	c := &chats[0]
	c.promptLogs = -1
	body := s.chatBody(c, j, "chatcmpl-"+s.requestID(r, c.requestID))
	body.Usage = s.usageBody(j.usage())
	body.Usage.PromptDetails = nil
	answerJSON(w, http.StatusOK, compact(body))
}

func (s *Server) readBatch(r *http.Request) ([]chatRequest, *fault) {
	f, bad := readJSON(r)
	if bad == nil {
		bad = checkBatch(f)
	}
	if bad != nil {
		return nil, bad
	}
	conversations := f.conversations()
	if c := f.members["tool_choice"]; c != nil && c != choiceNone {
		f.note(noLiteral(f.path("tool_choice"), c, choiceNone))
	}
	f.declare(declaredBatch)
	shared := chatRequest{}
	delete(f.members, "tools")
	delete(f.members, "tool_choice")
	bad = shared.readOptions(f)
	if flawed := f.fault(); flawed != nil {
		return nil, flawed
	}
	if bad != nil {
		return nil, bad
	}
	if shared.model, bad = s.checkModel(shared.model); bad != nil {
		return nil, bad
	}
	shared.stream, shared.echo, shared.tokenIDs, shared.promptText = false, false, false, false
	shared.priority = priorityOf(r, shared.priority)
	out := make([]chatRequest, len(conversations))
	for i := range out {
		out[i] = shared
		out[i].messages = conversations[i]
		if bad := s.tokenizeChat(&out[i]); bad != nil {
			return nil, bad
		}
	}
	return out, nil
}

func checkBatch(f *fields) *fault {
	if f.truthy("use_beam_search") {
		return badParameter("use_beam_search", "Batch chat completions do not support beam search. Please set `use_beam_search` to False.")
	}
	if bad := checkChatLogprobs(f); bad != nil {
		return bad
	}
	if v := f.members["n"]; v != nil {
		if n, ok := realNumber(v); !ok || n != 1 {
			return badValue("n", pyText(v), "Batch chat completions do not support `n > 1`. Please set `n` to 1.")
		}
	}
	return checkFormat(f)
}

func (f *fields) conversations() [][]message {
	at := f.path("messages")
	v, there := f.members["messages"]
	list, ok := v.([]any)
	switch {
	case !there:
		f.note(missing(at, f.object))
		return nil
	case !ok:
		f.note(noList(at, v))
		return nil
	case len(list) == 0:
		f.note(tooShort(at, list))
		return nil
	}
	out := make([][]message, 0, len(list))
	for i, e := range list {
		at := elementAt(at, i)
		c, ok := e.([]any)
		switch {
		case !ok:
			f.note(noList(at, e))
		case len(c) == 0:
			f.note(tooShort(at, c))
		default:
			out = append(out, readMessages(c, at, f.bad))
		}
	}
	return out
}

func tooShort(at string, list []any) flaw {
	return flaw{
		kind: "too_short", at: at, input: list,
		message: fmt.Sprintf("List should have at least 1 item after validation, not %d", len(list)),
		context: fmt.Sprintf("{'field_type': 'List', 'min_length': 1, 'actual_length': %d}", len(list)),
	}
}
