package vllmsim

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// number is a JSON number as it was written; also NaN and the infinities, which
// Python reads.
type number string

// object is a JSON object. Of members with one name the last counts.
type object struct {
	names   []string // in the order they came
	members map[string]any
}

// syntaxError is what is wrong with JSON, in the words of Python.
type syntaxError struct {
	message string
	at      int // in code points
}

const deepest = 900 // levels of nesting; Python gives up about there

// parseJSON reads JSON as Python does, so that the same bodies pass and the others
// are refused with the same message at the same place.
func parseJSON(text string) (any, *syntaxError) {
	p := jsonParser{text: text}
	p.blank()
	v := p.value(0)
	p.blank()
	if p.err == "" && p.pos < len(text) {
		p.fail("Extra data", p.pos)
	}
	if p.err != "" {
		return nil, &syntaxError{p.err, utf8.RuneCountInString(text[:p.errAt])}
	}
	return v, nil
}

type jsonParser struct {
	text  string
	pos   int
	err   string
	errAt int
}

// fail notes the first error and moves to the end, where everything stops.
func (p *jsonParser) fail(message string, at int) {
	if p.err == "" {
		p.err, p.errAt = message, min(at, len(p.text))
	}
	p.pos = len(p.text)
}

func (p *jsonParser) blank() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\n\r", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

func (p *jsonParser) next() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *jsonParser) value(depth int) any {
	if depth > deepest {
		p.fail("Expecting value", p.pos)
		return nil
	}
	switch p.next() {
	case '{':
		return p.object(depth)
	case '[':
		return p.list(depth)
	case '"':
		return p.quoted()
	}
	for _, w := range []struct {
		word  string
		value any
	}{
		{"null", nil},
		{"true", true},
		{"false", false},
		{"NaN", number("NaN")},
		{"Infinity", number("Infinity")},
		{"-Infinity", number("-Infinity")},
	} {
		if strings.HasPrefix(p.text[p.pos:], w.word) {
			p.pos += len(w.word)
			return w.value
		}
	}
	if n := numberLen(p.text[p.pos:]); n > 0 {
		p.pos += n
		return number(p.text[p.pos-n : p.pos])
	}
	p.fail("Expecting value", p.pos)
	return nil
}

func (p *jsonParser) object(depth int) any {
	out := object{members: map[string]any{}}
	p.pos++
	p.blank()
	if p.next() == '}' {
		p.pos++
		return out
	}
	for p.err == "" {
		if p.next() != '"' {
			p.fail("Expecting property name enclosed in double quotes", p.pos)
			break
		}
		name := p.quoted()
		p.blank()
		if p.next() != ':' {
			p.fail("Expecting ':' delimiter", p.pos)
			break
		}
		p.pos++
		p.blank()
		v := p.value(depth + 1)
		if _, twin := out.members[name]; !twin {
			out.names = append(out.names, name)
		}
		out.members[name] = v
		if p.after('}') {
			return out
		}
	}
	return nil
}

// after reads what follows a member or an element, and reports whether it was the
// last.
func (p *jsonParser) after(end byte) bool {
	p.blank()
	switch p.next() {
	case end:
		p.pos++
		return true
	case ',':
		p.pos++
		p.blank()
	default:
		p.fail("Expecting ',' delimiter", p.pos)
	}
	return false
}

func (p *jsonParser) list(depth int) any {
	out := []any{}
	p.pos++
	p.blank()
	if p.next() == ']' {
		p.pos++
		return out
	}
	for p.err == "" {
		out = append(out, p.value(depth+1))
		if p.after(']') {
			return out
		}
	}
	return nil
}

// quoted reads a string; without escapes it is a part of the text.
func (p *jsonParser) quoted() string {
	open := p.pos
	p.pos++
	var out []byte
	from := p.pos
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			s := p.text[from:p.pos]
			p.pos++
			if out == nil {
				return s
			}
			return string(append(out, s...))
		case c == '\\':
			out = append(out, p.text[from:p.pos]...)
			out = p.escape(out, open)
			from = p.pos
		case c < ' ':
			p.fail("Invalid control character at", p.pos)
		default:
			p.pos++
		}
	}
	p.fail("Unterminated string starting at", open)
	return ""
}

func (p *jsonParser) escape(out []byte, open int) []byte {
	at := p.pos
	p.pos += 2
	if p.pos > len(p.text) {
		p.fail("Unterminated string starting at", open)
		return out
	}
	c := p.text[at+1]
	if c == 'u' {
		return utf8.AppendRune(out, p.codePoint(at))
	}
	i := strings.IndexByte(`"\/bfnrt`, c)
	if i < 0 {
		p.fail(`Invalid \escape`, at)
		return out
	}
	return append(out, "\"\\/\b\f\n\r\t"[i])
}

// codePoint reads what follows a \u, and the other half of a pair if there is one.
func (p *jsonParser) codePoint(at int) rune {
	r, ok := p.hex4()
	if !ok {
		p.fail(`Invalid \uXXXX escape`, at+1)
		return utf8.RuneError
	}
	if utf16.IsSurrogate(r) && strings.HasPrefix(p.text[p.pos:], `\u`) {
		back := p.pos
		p.pos += 2
		if low, ok := p.hex4(); ok {
			if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
				return both
			}
		}
		p.pos = back
	}
	return r
}

func (p *jsonParser) hex4() (rune, bool) {
	if p.pos+4 > len(p.text) {
		return 0, false
	}
	n, err := strconv.ParseUint(p.text[p.pos:p.pos+4], 16, 16)
	if err != nil {
		return 0, false
	}
	p.pos += 4
	return rune(n), true
}

// numberLen is the length of the number that s begins with, or 0.
func numberLen(s string) int {
	i := 0
	if strings.HasPrefix(s, "-") {
		i = 1
	}
	n := digits(s[i:])
	if n == 0 {
		return 0
	}
	if s[i] == '0' {
		n = 1
	}
	i += n
	if strings.HasPrefix(s[i:], ".") {
		if n := digits(s[i+1:]); n > 0 {
			i += 1 + n
		}
	}
	return i + exponentLen(s[i:])
}

func exponentLen(s string) int {
	if !strings.HasPrefix(s, "e") && !strings.HasPrefix(s, "E") {
		return 0
	}
	sign := 1
	if strings.HasPrefix(s[1:], "+") || strings.HasPrefix(s[1:], "-") {
		sign = 2
	}
	if n := digits(s[sign:]); n > 0 {
		return sign + n
	}
	return 0
}

func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
