package openai

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// What follows reads JSON that a backend made, without judging it: on anything
// that is no JSON it finds nothing.

// member is a name and its value in an object, as indices into its bytes.
type member struct {
	nameStart, nameEnd   int // with the quotes
	valueStart, valueEnd int
}

// is reports whether the member is called name, however that is escaped.
func (m member) is(b []byte, name string) bool {
	raw := b[m.nameStart:m.nameEnd]
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1:len(raw)-1]) == name
	}
	plain, err := jsontext.AppendUnquote(nil, raw)
	return err == nil && string(plain) == name
}

// nextMember is the first member of an object at or behind i, which is 0, or the
// end of the member before. False: there is none, or b is no object.
func nextMember(b []byte, i int) (member, bool) {
	i = skipSpace(b, i)
	if i >= len(b) || b[i] != '{' && b[i] != ',' {
		return member{}, false
	}
	var m member
	m.nameStart = skipSpace(b, i+1)
	if m.nameStart >= len(b) || b[m.nameStart] != '"' {
		return member{}, false
	}
	m.nameEnd = skipString(b, m.nameStart)
	colon := skipSpace(b, m.nameEnd)
	if m.nameEnd < 0 || colon >= len(b) || b[colon] != ':' {
		return member{}, false
	}
	m.valueStart = skipSpace(b, colon+1)
	m.valueEnd = skipValue(b, m.valueStart)
	return m, m.valueEnd > m.valueStart
}

// topLevel is the value of a member of the object b; nil: it has none.
func topLevel(b []byte, name string) []byte {
	for m, ok := nextMember(b, 0); ok; m, ok = nextMember(b, m.valueEnd) {
		if m.is(b, name) {
			return b[m.valueStart:m.valueEnd]
		}
	}
	return nil
}

// maxTries bounds how often a name is looked at that may be another's: values
// that lie in each other would be read over and over.
const maxTries = 16

// anyLevel is the first value in b, however deep, whose quoted name is given and
// which pred accepts; nil: there is none among the first few. It looks for the bytes and so does not
// find a name that is written with escapes.
func anyLevel(b []byte, quoted string, pred func(value []byte) bool) []byte {
	for range maxTries {
		i := bytes.Index(b, []byte(quoted))
		if i < 0 {
			return nil
		}
		b = b[i+len(quoted):]
		if value := valueBehindName(b); value != nil && pred(value) {
			return value
		}
	}
	return nil
}

// valueBehindName is the value behind a name, or nil if what seemed a name was
// a string.
func valueBehindName(b []byte) []byte {
	colon := skipSpace(b, 0)
	if colon >= len(b) || b[colon] != ':' {
		return nil
	}
	start := skipSpace(b, colon+1)
	end := skipValue(b, start)
	if end <= start {
		return nil
	}
	return b[start:end]
}

func skipSpace(b []byte, i int) int {
	for i >= 0 && i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipString is the index behind the string that begins at i, or -1.
func skipString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// skipValue is the index behind the value that begins at i, or -1. Brackets are
// counted, not matched.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			if i = skipString(b, i); i < 0 {
				return -1
			}
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth--; depth < 0 {
				return -1
			}
			i++
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return -1
			}
			i++
			continue
		default:
			i = skipScalar(b, i)
		}
		if depth == 0 {
			return i
		}
	}
	return -1
}

// skipScalar is the index behind a number or a literal.
func skipScalar(b []byte, i int) int {
	for i < len(b) && bytes.IndexByte([]byte(",:{}[]\" \n\t\r"), b[i]) < 0 {
		i++
	}
	return i
}

func isNull(value []byte) bool { return len(value) == 0 || string(value) == "null" }
