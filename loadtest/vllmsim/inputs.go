package vllmsim

import (
	"fmt"
	"math"
	"strconv"
)

// input is a text or a list of tokens.
type input struct {
	text   string
	tokens []token
	isText bool
}

// readInputs reads what may be a text, a list of texts, a list of tokens, or a list
// of such lists. ok is false if it is none of these, or empty where it must not be.
func readInputs(v any) (out []input, bad *fault, ok bool) {
	switch v := v.(type) {
	case string:
		return []input{{text: validText(v), isText: true}}, nil, true
	case []any:
		if len(v) == 0 {
			return nil, nil, true
		}
		if _, isNumber := v[0].(number); isNumber {
			in, bad, ok := readTokens(v)
			return []input{in}, bad, ok
		}
		for _, e := range v {
			in, bad, ok := readInput(e)
			if bad != nil || !ok {
				return nil, bad, ok
			}
			out = append(out, in)
		}
		return out, nil, true
	}
	return nil, nil, false
}

func readInput(v any) (input, *fault, bool) {
	switch v := v.(type) {
	case string:
		return input{text: validText(v), isText: true}, nil, true
	case []any:
		return readTokens(v)
	}
	return input{}, nil, false
}

func readTokens(v []any) (input, *fault, bool) {
	in := input{tokens: make([]token, 0, len(v))}
	for _, e := range v {
		n, ok := e.(number)
		if !ok {
			return in, nil, false
		}
		id, err := strconv.ParseInt(string(n), 10, 64)
		if err != nil || id < 0 || id > math.MaxUint32 {
			return in, badRequest("", fmt.Sprintf("Token id %s is out of vocabulary", n)), true
		}
		in.tokens = append(in.tokens, token(id))
	}
	return in, nil, true
}

const emptyPrompt = "The decoder prompt cannot be empty"

// truncated is the end of a prompt, if only that is wanted.
func (g *sampling) truncated(tokens []token) []token {
	if g.truncate != nil && *g.truncate >= 0 && len(tokens) > *g.truncate {
		return tokens[len(tokens)-*g.truncate:]
	}
	return tokens
}

// tokenizeInput is the tokens of an input, and a fault if there are none or too
// many.
func (s *Server) tokenizeInput(in input, g *sampling) ([]token, *fault) {
	tokens := in.tokens
	if in.isText {
		tokens = appendTokens(nil, in.text, s.maxModelLen()+1)
	}
	if tokens = g.truncated(tokens); len(tokens) == 0 {
		return nil, badRequest("", emptyPrompt)
	}
	return tokens, s.checkLength(g, len(tokens), in.isText)
}
