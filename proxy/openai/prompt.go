package openai

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	taskMark  = "### Task:" // begins the prompts of Open WebUI's background tasks
	taskBytes = 200         // of such a prompt that are kept
)

// batch reads the list of conversations of /v1/chat/completions/batch.
func (s *scanner) batch() error {
	if s.dec.PeekKind() != '[' {
		return s.wrongNext("messages", "a list of conversations")
	}
	return s.array(func() error {
		s.prompts++
		return s.conversation("messages")
	})
}

// conversation reads a list of messages.
func (s *scanner) conversation(name string) error {
	if s.dec.PeekKind() != '[' {
		return s.wrongNext(name, "a list of messages")
	}
	return s.array(func() error {
		if s.dec.PeekKind() != '{' {
			return s.wrongNext(name, "a list of messages, each an object")
		}
		return s.message()
	})
}

// message reads one; who says it may be told after what is said.
func (s *scanner) message() error {
	s.messages++
	var role string
	var said []byte
	err := s.object(maxInner, func(name []byte) error {
		switch string(name) {
		case "role":
			text, err := s.text("role")
			role = text
			return err
		case "content":
			start := s.valueStart()
			if err := s.content(); err != nil {
				return err
			}
			said = s.body[start:s.dec.InputOffset()]
			return nil
		default:
			return s.contentMember(name)
		}
	})
	switch role {
	case "system", "developer":
		s.hash.add(said)
	case "user":
		if !s.first.some {
			s.first.add(said)
		}
		s.task = taskPrompt(said)
	}
	return err
}

// taskPrompt is the beginning of the text of a JSON string that begins with the
// mark.
func taskPrompt(raw []byte) string {
	if len(raw) < len(taskMark)+2 || raw[0] != '"' {
		return ""
	}
	text := raw[:len(raw)-1]
	if len(text) > taskBytes {
		text = text[:taskBytes]
		if i := bytes.LastIndexByte(text, '\\'); i > len(text)-len(`\uD83D\uDE00`) {
			text = text[:i] // it may have been cut
		}
	}
	// The error says that it was cut in the middle of a character, which then ends
	// in a replacement character.
	plain, _ := jsontext.AppendUnquote(nil, append(bytes.Clone(text), '"'))
	if !bytes.HasPrefix(bytes.TrimLeft(plain, " \n\r\t"), []byte(taskMark)) {
		return ""
	}
	return string(plain)
}

// content counts what the model will read: a string, or a list or object with
// strings where the APIs put text.
func (s *scanner) content() error {
	switch s.dec.PeekKind() {
	case '"':
		raw, err := s.value()
		if err == nil {
			chars, n := textSize(raw)
			s.r.InputChars += chars
			s.r.InputBytes += n
		}
		return err
	case '[':
		return s.array(s.content)
	case '{':
		return s.object(maxInner, s.contentMember)
	case '0':
		s.r.InputTokens++
		return s.skip()
	default:
		return s.skip()
	}
}

func (s *scanner) contentMember(name []byte) error {
	switch string(name) {
	case "text", "content", "output", "refusal", "reasoning", "reasoning_content", "thinking", "summary":
		return s.content()
	case "tool_calls", "function_call":
		return s.toolCalls()
	case "function", "custom": // of a tool call
		return s.content()
	case "arguments", "input":
		return s.arguments()
	case "image_url", "source", "image":
		s.r.Images++
		return s.skip()
	default:
		return s.skip()
	}
}

// toolCalls are what the model said before, and are read by it again: as tokens they
// count as they are written, and as text by their arguments.
func (s *scanner) toolCalls() error {
	before, start := s.r.InputBytes, s.valueStart()
	if err := s.content(); err != nil {
		return err
	}
	s.r.InputBytes = before + int(s.dec.InputOffset()) - start
	return nil
}

// arguments of a tool call are a text or an object.
func (s *scanner) arguments() error {
	raw, err := s.value()
	if err != nil || raw[0] == 'n' {
		return err
	}
	s.r.InputBytes += len(raw)
	chars := utf8.RuneCount(raw)
	if raw[0] == '"' {
		chars, _ = textSize(raw)
	}
	s.r.InputChars += chars
	return nil
}

// prompt reads what /v1/completions takes: a text, a list of token ids, or a
// list of either. The backend generates for those of all fields together, so
// they add up.
func (s *scanner) prompt() error {
	if s.dec.PeekKind() != '[' {
		s.prompts++
		return s.content()
	}
	var flat, listed int
	err := s.array(func() error {
		if s.dec.PeekKind() == '0' {
			flat = 1
		} else {
			listed++
		}
		return s.content()
	})
	s.prompts += flat + listed
	return err
}

// textSize is the length of a JSON string's text in code points and in bytes.
func textSize(raw []byte) (chars, size int) {
	raw = raw[1 : len(raw)-1]
	chars, size = utf8.RuneCount(raw), len(raw)
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return chars, size
		}
		written, read := escape(raw[i:])
		chars -= written - 1
		size -= written - read
		raw = raw[i+written:]
	}
}

// escape is the length of the escape that b begins with, and of the character
// that it stands for.
func escape(b []byte) (written, read int) {
	if b[1] != 'u' {
		return 2, 1
	}
	switch r := hex4(b[2:6]); {
	case 0xD800 <= r && r < 0xDC00:
		return 12, 4 // the decoder has seen the other half
	case r < 0x80:
		return 6, 1
	case r < 0x800:
		return 6, 2
	default:
		return 6, 3
	}
}

func hex4(b []byte) (r rune) {
	for _, c := range b {
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c&^0x20 - 'A' + 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
