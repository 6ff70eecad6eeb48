package limit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// SyntaxError says where a limit is wrong and what would be right there.
type SyntaxError struct {
	Text     string
	At       int    // the character, counted from 1
	Expected string // "a number, as in 30/minute"
}

// Error makes a SyntaxError an error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("limit %q, character %d: expected %s, found %s", clip(e.Text), e.At, e.Expected, e.found())
}

// found is the word or the character that stands there.
func (e *SyntaxError) found() string {
	rest := e.Text
	for range e.At - 1 {
		_, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
	}
	if rest == "" {
		return "the end"
	}
	n := run(rest, isLetter)
	if n == 0 {
		n = run(rest, isDigit)
	}
	if n == 0 {
		_, n = utf8.DecodeRuneInString(rest)
	}
	return strconv.Quote(clip(rest[:n]))
}

// clip keeps an error readable whatever was written.
func clip(s string) string {
	const enough = 100
	if len(s) <= enough {
		return s
	}
	return strings.ToValidUTF8(s[:enough], "") + "…"
}

// Parse reads limits as Python's limits package takes them, and a burst:
//
//	limits = [single {("," | ";" | "|") single}]
//	single = N ("/" | "per") [M] unit ["burst" B]
//	unit   = second | minute | hour | day | month | year, also plural
//
// Case and spaces are free; a month has 30 days and a year 360. An error is a
// [*SyntaxError]. Nothing, or nothing but spaces, is no limit. What Python takes and
// this does not stands in the package's documentation.
func Parse(text string) ([]Limit, error) {
	p := &parser{text: text}
	p.space()
	if p.end() {
		return nil, nil
	}
	var all []Limit
	for {
		l, err := p.single()
		if err != nil {
			return nil, err
		}
		all = append(all, l)
		if p.end() {
			return all, nil
		}
		p.pos++ // the separator, which single has seen
	}
}

type parser struct {
	text string
	pos  int // in bytes
}

func (p *parser) rest() string { return p.text[p.pos:] }
func (p *parser) end() bool    { return p.pos == len(p.text) }
func (p *parser) space()       { p.pos += run(p.rest(), isSpace) }

func (p *parser) separator() bool { return !p.end() && strings.IndexByte(",;|", p.text[p.pos]) >= 0 }

// wrong is an error at a place.
func (p *parser) wrong(pos int, expected string) error {
	return &SyntaxError{Text: p.text, At: utf8.RuneCountInString(p.text[:pos]) + 1, Expected: expected}
}

// single reads one limit, up to the separator or the end.
func (p *parser) single() (Limit, error) {
	p.space()
	start := p.pos
	n, err := p.amount()
	if err != nil {
		return Limit{}, err
	}
	l := Limit{N: n, Burst: n}
	if err := p.per(); err != nil {
		return Limit{}, err
	}
	if l.Period, err = p.period(); err != nil {
		return Limit{}, err
	}
	if p.word("burst") {
		if l.Burst, err = p.number("a whole number, as in burst 5"); err != nil {
			return Limit{}, err
		}
	} else if !p.end() && !p.separator() {
		return Limit{}, p.wrong(p.pos, `"burst", a separator (one of , ; |) or the end`)
	}
	if !p.end() && !p.separator() {
		return Limit{}, p.wrong(p.pos, "a separator (one of , ; |) or the end")
	}
	if l.Validate() != nil { // the numbers are right one by one
		return Limit{}, p.wrong(start, "a burst that takes at most 100 years to fill again")
	}
	return l, nil
}

// amount reads how much is let through. A limit slows down and locks nobody out.
func (p *parser) amount() (int64, error) {
	start := p.pos
	n, err := p.number("a whole number, as in 30/minute")
	if err != nil && strings.HasPrefix(p.rest(), "0") && strings.Trim(p.rest()[:run(p.rest(), isDigit)], "0") == "" {
		return 0, p.wrong(start, "a number from 1 (1/year is next to nothing; who is to be locked out loses their key or account)")
	}
	return n, err
}

// number reads a whole number of at least 1, and the space after it.
func (p *parser) number(expected string) (int64, error) {
	start := p.pos
	digits := p.text[start : start+run(p.rest(), isDigit)]
	if digits == "" {
		return 0, p.wrong(start, expected)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > most {
		return 0, p.wrong(start, fmt.Sprintf("a number from 1 to %d", int64(most)))
	}
	p.pos += len(digits)
	p.space()
	return n, nil
}

func (p *parser) per() error {
	switch rest := p.rest(); {
	case strings.HasPrefix(rest, "/"):
		p.pos++
	case len(rest) >= 3 && strings.EqualFold(rest[:3], "per"):
		p.pos += 3
	default:
		return p.wrong(p.pos, `"/" or "per"`)
	}
	p.space()
	return nil
}

func (p *parser) period() (time.Duration, error) {
	start, count := p.pos, int64(1)
	if run(p.rest(), isDigit) > 0 {
		var err error
		if count, err = p.number(""); err != nil {
			return 0, err
		}
	}
	for _, u := range units() {
		if p.word(u.name) || p.word(u.name+"s") {
			if count > int64(longest/u.d) {
				return 0, p.wrong(start, "a period of at most 100 years")
			}
			return time.Duration(count) * u.d, nil
		}
	}
	return 0, p.wrong(p.pos, "second, minute, hour, day, month or year")
}

// word reads one word, if it is this one, and the space after it.
func (p *parser) word(w string) bool {
	n := run(p.rest(), isLetter)
	if !strings.EqualFold(p.rest()[:n], w) {
		return false
	}
	p.pos += n
	p.space()
	return true
}

// run is how many bytes of s, from its beginning, are of a kind.
func run(s string, kind func(byte) bool) int {
	n := 0
	for n < len(s) && kind(s[n]) {
		n++
	}
	return n
}

func isSpace(c byte) bool  { return c == ' ' || c >= '\t' && c <= '\r' }
func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
