package openai

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// maxEvent bounds what is kept of an event that is not complete, in bytes. What
// is longer passes as it comes, unseen.
const maxEvent = 8 << 20

// FilterOptions say what a StreamFilter looks for.
type FilterOptions struct {
	Endpoint Endpoint
	// DropUsage takes out the usage chunk of a chat or completions stream,
	// because we asked for it and the client did not.
	DropUsage bool
}

// StreamFilter sees a backend's stream pass by, event by event. See the
// package's comment for the two things it changes.
//
// While usage is to be dropped, an event with a finish_reason is held back
// until the next one, for vLLM puts system_fingerprint on its last chunk: it
// moves from the usage chunk to the finish.
type StreamFilter struct {
	opts  FilterOptions
	split Splitter
	held  []byte // an event with a finish_reason, as it will go out
	raw   bool   // what comes next is the rest of an event that was too long

	usage     []byte // the object seen last, not read before somebody asks
	begin     Usage  // of message_start
	events    int
	generated int
	finished  bool
	failed    bool
}

// NewStreamFilter makes a filter for one stream.
func NewStreamFilter(o FilterOptions) *StreamFilter { return &StreamFilter{opts: o} }

// Feed takes a piece of the backend's stream and appends to out what the client
// is to get of it: whole events only.
func (f *StreamFilter) Feed(chunk, out []byte) []byte {
	f.split.Add(chunk)
	for {
		event, ok := f.split.Next()
		if !ok {
			break
		}
		out = f.event(event, out)
	}
	if f.split.Pending() > maxEvent {
		out = f.release(out)
		out = append(out, f.split.Rest()...)
		f.raw = true
	}
	return out
}

// Flush ends the stream and appends what was held back. An event whose blank
// line is missing goes out, with one, if its data is whole; a part of one
// does not, for it would swallow the error that follows.
func (f *StreamFilter) Flush(out []byte) []byte {
	rest := f.split.Rest()
	if whole(rest) && !f.raw {
		out = f.event(append(bytes.TrimRight(rest, "\r\n"), "\n\n"...), out)
	} else if f.raw {
		out = append(out, rest...)
	}
	return f.release(out)
}

// whole reports whether b lacks only the blank line to be an event.
func whole(b []byte) bool {
	data := false
	for len(b) > 0 {
		var line []byte
		line, b = cutLine(b)
		if payload, ok := field(line, "data"); ok {
			if !isDone(payload) && !jsontext.Value(payload).IsValid() {
				return false
			}
			data = true
		}
	}
	return data
}

// Usage is what the backend reported. False: nothing so far.
func (f *StreamFilter) Usage() (Usage, bool) {
	u, ok := parseUsage(f.opts.Endpoint, f.usage)
	if f.opts.Endpoint == Messages && f.begin != (Usage{}) {
		return u.merge(f.begin), true
	}
	return u, ok
}

// Finished reports whether the stream came to its proper end: [DONE],
// message_stop, response.completed.
func (f *StreamFilter) Finished() bool { return f.finished }

// Failed reports whether the backend sent an error in the stream, whatever came
// after it.
func (f *StreamFilter) Failed() bool { return f.failed }

// ContentEvents is the number of events so far that carried content.
func (f *StreamFilter) ContentEvents() int { return f.events }

// Generated is the number of tokens so far: of the reported usage if every
// chunk has it, else the events with content, which come close.
func (f *StreamFilter) Generated() int { return max(f.generated, f.events) }

// release appends the event that was held back.
func (f *StreamFilter) release(out []byte) []byte {
	out = append(out, f.held...)
	f.held = f.held[:0]
	return out
}

// event appends an event as the client is to get it.
func (f *StreamFilter) event(event, out []byte) []byte {
	if f.raw || len(event) > maxEvent {
		f.raw = false
		return append(f.release(out), event...)
	}
	if comment(event) {
		return append(out, event...)
	}
	v := f.look(event)
	if v.usage != nil && f.opts.DropUsage && onlyUsage(v.data) {
		return f.dropUsage(v.data, out)
	}
	out = f.release(out)
	if v.finish && f.opts.DropUsage {
		f.held = appendWithoutEvent(f.held, event, v.rewrite)
		return out
	}
	return appendWithoutEvent(out, event, v.rewrite)
}

// comment reports whether the event has nothing but comments and blank lines.
func comment(event []byte) bool {
	for len(event) > 0 {
		var line []byte
		line, event = cutLine(event)
		if len(line) > 0 && line[0] != ':' {
			return false
		}
	}
	return true
}

// dropUsage takes the usage chunk out and gives its fingerprint to the finish.
func (f *StreamFilter) dropUsage(data, out []byte) []byte {
	print := topLevel(data, "system_fingerprint")
	if len(f.held) > 0 && !isNull(print) {
		f.held = addMember(f.held, "system_fingerprint", print)
	}
	return f.release(out)
}
