package openai

import "bytes"

// view is what an event turned out to be.
type view struct {
	data    []byte // of its first data line
	usage   []byte // the object behind `usage`, or nil
	finish  bool   // a choice ended
	rewrite bool   // some data line may have an `event` key
}

// look reads the fields of an event and notes what is in it.
func (f *StreamFilter) look(event []byte) view {
	var v view
	for len(event) > 0 {
		var line []byte
		line, event = cutLine(event)
		if name, ok := field(line, "event"); ok && string(name) == "error" {
			f.failed = true
		}
		data, ok := field(line, "data")
		if !ok {
			continue
		}
		v.rewrite = v.rewrite || mayHaveEventKey(data)
		if v.data == nil {
			v.data = data
			f.lookAt(data, &v)
		}
	}
	return v
}

func (f *StreamFilter) lookAt(data []byte, v *view) {
	if isDone(data) {
		f.finished = true
		return
	}
	if HasContent(f.opts.Endpoint, data) {
		f.events++
	}
	if bytes.Contains(data, []byte(`"usage"`)) {
		v.usage = anyLevel(data, `"usage"`, func(b []byte) bool { _, ok := parseUsage(f.opts.Endpoint, b); return ok })
	}
	if bytes.Contains(data, []byte(`"error"`)) && !isNull(topLevel(data, "error")) {
		f.failed = true
	}
	switch f.opts.Endpoint {
	case Messages:
		f.lookAtMessage(data, v)
	case Responses:
		f.lookAtResponse(data, v)
	default:
		f.lookAtChunk(data, v)
	}
}

// lookAtChunk is for chat, completions, and what streams like them.
func (f *StreamFilter) lookAtChunk(data []byte, v *view) {
	f.keepUsage(v.usage)
	v.finish = hasFilled(data, `"finish_reason"`)
}

func (f *StreamFilter) lookAtMessage(data []byte, v *view) {
	switch kind(data) {
	case "message_start":
		f.begin, _ = parseUsage(Messages, v.usage)
	case "message_delta":
		f.keepUsage(v.usage)
	case "message_stop":
		f.finished = true
	case "error":
		f.failed = true
	}
}

func (f *StreamFilter) lookAtResponse(data []byte, v *view) {
	switch kind(data) {
	case "response.completed", "response.incomplete":
		f.keepUsage(v.usage)
		f.finished = true
	case "response.failed", "error":
		f.failed = true
	}
}

// keepUsage keeps the object to be read when somebody asks, and the count of
// a stream that reports it with every chunk.
func (f *StreamFilter) keepUsage(object []byte) {
	if object == nil {
		return
	}
	f.usage = append(f.usage[:0], object...)
	u, _ := parseUsage(f.opts.Endpoint, object)
	f.generated = max(f.generated, u.Output)
}

// kind is the value of the member `type`, if it is one that matters.
func kind(data []byte) string {
	raw := topLevel(data, "type")
	if len(raw) < 2 {
		return ""
	}
	switch string(raw[1 : len(raw)-1]) {
	case "message_start":
		return "message_start"
	case "message_delta":
		return "message_delta"
	case "message_stop":
		return "message_stop"
	case "response.completed":
		return "response.completed"
	case "response.incomplete":
		return "response.incomplete"
	case "response.failed":
		return "response.failed"
	case "error":
		return "error"
	default:
		return ""
	}
}

func isDone(data []byte) bool { return string(bytes.TrimSpace(data)) == "[DONE]" }

// onlyUsage reports whether the chunk has no choice.
func onlyUsage(data []byte) bool {
	choices := topLevel(data, "choices")
	return len(choices) > 0 && choices[0] == '[' && !filled(choices, 0)
}
