package vllmsim

import "strings"

// answer is the text of a sequence, known before it is generated.
type answer struct {
	fixed string // JSON that was asked for; "": words
	seed  uint64
	shown int // bytes that are shown: a stop string cuts here; negative: all
}

// The sounds of the words: every token is a blank and three letters.
const (
	consonants = "bdfgklmnprstvz"
	vowels     = "aeiou"
)

// append appends the text of the tokens from up to, but not including, to.
func (a *answer) append(dst []byte, from, to int) []byte {
	from, to = from*bytesPerToken, to*bytesPerToken
	if a.shown >= 0 {
		to = min(to, a.shown)
	}
	if a.fixed != "" {
		to = min(to, len(a.fixed))
	}
	if from >= to {
		return dst
	}
	if a.fixed != "" {
		return append(dst, a.fixed[from:to]...)
	}
	start := len(dst)
	for t := from / bytesPerToken; t*bytesPerToken < to; t++ {
		dst = a.appendWord(dst, t)
	}
	return dst[:start+to-from]
}

func (a *answer) appendWord(dst []byte, t int) []byte {
	h := mix(a.seed, uint64(t)) //nolint:gosec // a position is never negative
	return append(dst, ' ', consonants[h%14], vowels[(h>>16)%5], consonants[(h>>32)%14])
}

// text is the text of the first n tokens.
func (a *answer) text(n int) string { return string(a.append(nil, 0, n)) }

// naturalLength is how many tokens the answer has if nothing limits it.
func (a *answer) naturalLength() int {
	if a.fixed != "" {
		return (len(a.fixed)+bytesPerToken-1)/bytesPerToken + 1 // and the token that ends it
	}
	return 32 + int(mix(a.seed, 0x656e64)%320)
}

// cut looks for stop strings in the first n tokens. It returns the number of
// tokens with which the first is complete, and which one it is.
func (a *answer) cut(stops []string, n, least int, include bool) (tokens int, stop string, found bool) {
	if len(stops) == 0 {
		return n, "", false
	}
	text := a.text(n)
	best := -1
	for _, s := range stops {
		at := indexAfter(text, s, least*bytesPerToken)
		if at >= 0 && (best < 0 || at+len(s) < best+len(stop)) {
			best, stop = at, s
		}
	}
	if best < 0 {
		return n, "", false
	}
	end := best + len(stop)
	a.shown = best
	if include {
		a.shown = end
	}
	return (end + bytesPerToken - 1) / bytesPerToken, stop, true
}

// indexAfter is where sub ends after the first least bytes of s, or -1.
func indexAfter(s, sub string, least int) int {
	if sub == "" {
		return -1
	}
	from := max(0, least-len(sub)+1)
	if from > len(s) {
		return -1
	}
	if at := strings.Index(s[from:], sub); at >= 0 {
		return from + at
	}
	return -1
}
