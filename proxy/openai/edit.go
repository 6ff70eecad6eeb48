package openai

import (
	"bytes"
	"slices"
)

// mayHaveEventKey is cheap and errs on the side of yes: a name can also be
// written with escapes, of which those of letters begin with \u006 or \u007.
func mayHaveEventKey(data []byte) bool {
	return bytes.Contains(data, []byte(`"event"`)) || bytes.Contains(data, []byte(`\u00`))
}

// appendWithoutEvent appends an event without the `event` keys of its data. All
// other bytes stay as they are.
func appendWithoutEvent(out, event []byte, look bool) []byte {
	if !look {
		return append(out, event...)
	}
	for len(event) > 0 {
		line, rest := cutLine(event)
		end := event[len(line) : len(event)-len(rest)]
		if data, ok := field(line, "data"); ok {
			out = append(out, line[:len(line)-len(data)]...)
			out = appendWithout(out, data, "event")
		} else {
			out = append(out, line...)
		}
		out = append(out, end...)
		event = rest
	}
	return out
}

// appendWithout appends the object without its members of that name. What is no
// object is appended as it is.
func appendWithout(out, object []byte, name string) []byte {
	from, prev, kept := 0, 0, false
	for m, ok := nextMember(object, 0); ok; m, ok = nextMember(object, m.valueEnd) {
		if !m.is(object, name) {
			kept, prev = true, m.valueEnd
			continue
		}
		if kept { // the comma before it goes with it
			out = append(out, object[from:prev]...)
			from, prev = m.valueEnd, m.valueEnd
			continue
		}
		// the first so far: the comma behind it, if any
		out = append(out, object[from:m.nameStart]...)
		from = m.valueEnd
		if comma := skipSpace(object, from); comma < len(object) && object[comma] == ',' {
			from = skipSpace(object, comma+1)
		}
	}
	return append(out, object[from:]...)
}

// addMember puts a member at the end of the object in an event's first data
// line, unless it has one of that name.
func addMember(event []byte, name string, value []byte) []byte {
	for at := 0; at < len(event); {
		line, rest := cutLine(event[at:])
		data, ok := field(line, "data")
		if !ok {
			at = len(event) - len(rest)
			continue
		}
		brace := bytes.LastIndexByte(data, '}')
		if brace < 0 || topLevel(data, name) != nil {
			return event
		}
		at += len(line) - len(data) + brace
		return slices.Insert(event, at, slices.Concat([]byte(`,"`+name+`":`), value)...)
	}
	return event
}
