package vllmsim

import "strconv"

// tokenAt is the token of a sequence at a position.
func (q *sequence) tokenAt(t int) token {
	if q.eos && t == q.output-1 {
		return tokenEnd
	}
	whole := q.answer
	whole.shown = -1
	var buf [2 * bytesPerToken]byte
	var out token
	for i, c := range whole.append(buf[:0], t, t+1) {
		out |= token(c) << (8 * (bytesPerToken - 1 - i))
	}
	return out
}

// appendTokenIDs appends a list of the ids of the tokens from up to, but not
// including, to.
func (q *sequence) appendTokenIDs(dst []byte, from, to int) []byte {
	dst = append(dst, '[')
	for t := from; t < to; t++ {
		if t > from {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(q.tokenAt(t)), 10)
	}
	return append(dst, ']')
}

func appendTokens32(dst []byte, ts []token) []byte {
	dst = append(dst, '[')
	for i, t := range ts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(t), 10)
	}
	return append(dst, ']')
}

// rival is an invented token that might have come at a position instead. Rivals of
// different ranks differ.
func rival(seed uint64, at, rank int) token {
	const words = uint64(len(consonants) * len(vowels) * len(consonants))
	w := (mix(seed, uint64(at)) + uint64(rank)) % words //nolint:gosec // neither is negative
	c, v := uint64(len(consonants)), uint64(len(vowels))
	return token(' ')<<24 | token(consonants[w/(v*c)])<<16 | token(vowels[w/c%v])<<8 | token(consonants[w%c])
}

// logprob is the invented log probability of a token, falling with its rank.
func logprob(seed uint64, at, rank int) float64 {
	h := mix(seed, uint64(at)<<8|1) //nolint:gosec // a position is never negative
	return -float64(h%1024)/1024 - 1.0/64 - float64(rank)*0.5
}

func appendFloat(dst []byte, f float64) []byte { return strconv.AppendFloat(dst, f, 'f', -1, 64) }

// names is how tokens are called in log probabilities.
type names struct {
	ids bool // as their ids
}

func (n names) append(dst []byte, t token) []byte {
	if n.ids {
		dst = append(dst, `"token_id:`...)
		dst = strconv.AppendUint(dst, uint64(t), 10)
		return append(dst, '"')
	}
	return appendString(dst, []byte(validText(t.text())))
}

// appendChatLogprobs appends the log probabilities of a chat's tokens, in the form
// of chats.
func (q *sequence) appendChatLogprobs(dst []byte, from, to int, g *sampling) []byte {
	n := names{ids: g.asIDs}
	dst = append(dst, `{"content":[`...)
	for t := from; t < to; t++ {
		if t > from {
			dst = append(dst, ',')
		}
		tok := q.tokenAt(t)
		dst = appendChatLogprob(dst, tok, logprob(q.answer.seed, t, 0), n)
		dst = append(dst, `,"top_logprobs":[`...)
		for rank := range g.logprobs {
			r := tok
			if rank > 0 {
				dst = append(dst, ',')
				r = rival(q.answer.seed, t, rank)
			}
			dst = append(appendChatLogprob(dst, r, logprob(q.answer.seed, t, rank), n), '}')
		}
		dst = append(dst, `]}`...)
	}
	return append(dst, `]}`...)
}

// appendChatLogprob appends an object, but not its end.
func appendChatLogprob(dst []byte, t token, p float64, n names) []byte {
	dst = append(dst, `{"token":`...)
	dst = n.append(dst, t)
	dst = append(dst, `,"logprob":`...)
	dst = appendFloat(dst, p)
	dst = append(dst, `,"bytes":[`...)
	for i, c := range []byte(t.text()) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return append(dst, ']')
}

// tableau is the log probabilities of a completion's tokens, in the form of
// completions: four lists.
type tableau struct {
	g                              *sampling
	offset                         int // in the text, of the next token
	offsets, probs, tokens, rivals []byte
}

func (tb *tableau) add(t token, seed uint64, at int, first bool) {
	n := names{ids: tb.g.asIDs}
	sep := func(b []byte) []byte {
		if len(b) > 0 {
			return append(b, ',')
		}
		return b
	}
	tb.offsets = strconv.AppendInt(sep(tb.offsets), int64(tb.offset), 10)
	tb.offset += len([]rune(t.text()))
	tb.tokens = n.append(sep(tb.tokens), t)
	tb.probs, tb.rivals = sep(tb.probs), sep(tb.rivals)
	if first {
		tb.probs, tb.rivals = append(tb.probs, "null"...), append(tb.rivals, "null"...)
		return
	}
	tb.probs = appendFloat(tb.probs, logprob(seed, at, 0))
	tb.rivals = append(tb.rivals, '{')
	for rank := range max(1, tb.g.logprobs) {
		r := t
		if rank > 0 {
			tb.rivals = append(tb.rivals, ',')
			r = rival(seed, at, rank)
		}
		tb.rivals = n.append(tb.rivals, r)
		tb.rivals = append(tb.rivals, ':')
		tb.rivals = appendFloat(tb.rivals, logprob(seed, at, rank))
	}
	tb.rivals = append(tb.rivals, '}')
}

func (tb *tableau) append(dst []byte) []byte {
	for _, part := range []struct {
		name string
		list []byte
	}{
		{`{"text_offset":[`, tb.offsets},
		{`],"token_logprobs":[`, tb.probs},
		{`],"tokens":[`, tb.tokens},
		{`],"top_logprobs":[`, tb.rivals},
	} {
		dst = append(dst, part.name...)
		dst = append(dst, part.list...)
	}
	tb.offsets, tb.probs, tb.tokens, tb.rivals = tb.offsets[:0], tb.probs[:0], tb.tokens[:0], tb.rivals[:0]
	return append(dst, `]}`...)
}

// appendPromptLogprobs appends the log probabilities of a prompt: nothing is known
// of its first token.
func (p *prompt) appendPromptLogprobs(dst []byte, rivals int) []byte {
	dst = append(dst, "[null"...)
	for at := 1; at < len(p.tokens); at++ {
		dst = append(dst, ",{"...)
		dst = appendPromptLogprob(dst, p.tokens[at], logprob(p.hash, at, rivals), rivals+1)
		for rank := range rivals {
			dst = append(dst, ',')
			dst = appendPromptLogprob(dst, rival(p.hash, at, rank), logprob(p.hash, at, rank), rank+1)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendPromptLogprob(dst []byte, t token, p float64, rank int) []byte {
	dst = append(dst, '"')
	dst = strconv.AppendUint(dst, uint64(t), 10)
	dst = append(dst, `":{"logprob":`...)
	dst = appendFloat(dst, p)
	dst = append(dst, `,"rank":`...)
	dst = strconv.AppendInt(dst, int64(rank), 10)
	dst = append(dst, `,"decoded_token":`...)
	dst = appendString(dst, []byte(validText(t.text())))
	return append(dst, '}')
}
