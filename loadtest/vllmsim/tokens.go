package vllmsim

import (
	"encoding/binary"
	"unicode/utf8"

	"fairlane/scheduler/gpumodel"
)

// token is a piece of text: its up to four bytes, the first in the highest place.
type token uint32

// The markers of the chat template. No valid UTF-8 begins with their first byte.
const (
	tokenStart token = 0xff000001 // <|im_start|>
	tokenEnd   token = 0xff000002 // <|im_end|>
	tokenImage token = 0xff000003 // a piece of something that is not text
)

const bytesPerToken = 4

// appendTokens appends the tokens of s, but stops at limit tokens in all.
func appendTokens(dst []token, s string, limit int) []token {
	for len(s) > 0 && len(dst) < limit {
		n := pieceLen(s)
		var b [bytesPerToken]byte
		copy(b[:], s[:n])
		dst = append(dst, token(binary.BigEndian.Uint32(b[:])))
		s = s[n:]
	}
	return dst
}

// pieceLen is the length of the token that s begins with.
func pieceLen(s string) int {
	if len(s) <= bytesPerToken {
		return len(s)
	}
	n := bytesPerToken
	for n > 1 && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

// text is what the token stands for.
func (t token) text() string {
	switch t {
	case tokenStart:
		return "<|im_start|>"
	case tokenEnd:
		return "<|im_end|>"
	case tokenImage:
		return "<|image_pad|>"
	}
	var b [bytesPerToken]byte
	binary.BigEndian.PutUint32(b[:], uint32(t))
	n := bytesPerToken
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return string(b[:n])
}

func joinTokens(ts []token) string {
	out := make([]byte, 0, len(ts)*bytesPerToken)
	for _, t := range ts {
		out = append(out, t.text()...)
	}
	return string(out)
}

// mix is a step of a hash over 64-bit words (the finalizer of splitmix64).
func mix(h, x uint64) uint64 {
	h ^= x + 0x9e3779b97f4a7c15 + h<<6
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func mixString(h uint64, s string) uint64 {
	for len(s) >= 8 {
		h = mix(h, uint64(s[0])<<56|uint64(s[1])<<48|uint64(s[2])<<40|uint64(s[3])<<32|
			uint64(s[4])<<24|uint64(s[5])<<16|uint64(s[6])<<8|uint64(s[7]))
		s = s[8:]
	}
	x := uint64(len(s))
	for i := range len(s) {
		x = x<<8 | uint64(s[i])
	}
	return mix(h, x)
}

// prompt is what a sequence begins with.
type prompt struct {
	tokens []token
	hash   uint64
	marks  []gpumodel.Mark // one at each block
}

// newPrompt hashes the tokens, block by block. A different salt shares nothing.
func newPrompt(tokens []token, salt string, blockSize int) prompt {
	h := mixString(1, salt)
	marks := make([]gpumodel.Mark, 0, len(tokens)/blockSize)
	for i, t := range tokens {
		h = mix(h, uint64(t))
		if (i+1)%blockSize == 0 {
			marks = append(marks, gpumodel.Mark{Hash: h, Tokens: i + 1})
		}
	}
	return prompt{tokens: tokens, hash: h, marks: marks}
}
