package openai

import "bytes"

// Splitter cuts a stream of server-sent events into events, whatever the
// pieces it arrives in. The zero value is ready. A line ends with LF or CRLF; a
// lone CR is no line end here, no server sends one.
type Splitter struct {
	in   []byte // what is being split: the caller's chunk, or rest
	rest []byte // own copy of an event that is not complete
	seen int    // bytes of in that are known to hold no end of an event
}

// Add gives the next piece of the stream, which must not change until the
// following Add. Before that, Next has to be called until it says false.
func (s *Splitter) Add(chunk []byte) {
	if len(s.rest) == 0 {
		s.in, s.seen = chunk, 0
		return
	}
	s.rest = append(s.rest, chunk...)
	s.in = s.rest
}

// Next is the next complete event with the blank line that ends it, or false if
// more has to come. A blank line too many is an event of its own. The bytes are
// valid until the next Add.
func (s *Splitter) Next() ([]byte, bool) {
	if end := eventEnd(s.in, s.seen); end > 0 {
		event := s.in[:end]
		s.in, s.seen = s.in[end:], 0
		return event, true
	}
	if len(s.in) != len(s.rest) { // else it lies there already
		s.rest = append(s.rest[:0], s.in...)
	}
	s.in = nil
	s.seen = max(0, len(s.rest)-len("\n\r"))
	return nil, false
}

// Pending is the number of bytes that are kept of an event that is not complete.
func (s *Splitter) Pending() int { return len(s.rest) }

// Rest takes out what came after the last complete event.
func (s *Splitter) Rest() []byte {
	rest := s.rest
	s.in, s.rest, s.seen = nil, nil, 0
	return rest
}

// eventEnd is the index behind the first blank line of b, or 0. No line ends
// before b[seen].
func eventEnd(b []byte, seen int) int {
	if n := newline(b); n > 0 {
		return n
	}
	for {
		i := bytes.IndexByte(b[seen:], '\n')
		if i < 0 {
			return 0
		}
		seen += i + 1
		if n := newline(b[seen:]); n > 0 {
			return seen + n
		}
	}
}

// newline is the length of the line end that b begins with.
func newline(b []byte) int {
	switch {
	case len(b) > 0 && b[0] == '\n':
		return 1
	case len(b) > 1 && b[0] == '\r' && b[1] == '\n':
		return 2
	default:
		return 0
	}
}

// cutLine is the first line of b without its end, and what follows.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, ended := bytes.Cut(b, []byte{'\n'})
	if ended {
		line = bytes.TrimSuffix(line, []byte{'\r'})
	}
	return line, rest
}

// field is the value of the line if it is of the field named, as the standard
// reads it: one blank after the colon does not count.
func field(line []byte, name string) ([]byte, bool) {
	if len(line) <= len(name) || string(line[:len(name)]) != name || line[len(name)] != ':' {
		return nil, false
	}
	return bytes.TrimPrefix(line[len(name)+1:], []byte{' '}), true
}
