package openai

import (
	"encoding/binary"
	"math/bits"
)

// hash tells prefixes apart. It reads eight bytes at a time and multiplies them
// in, folding both halves of the product. It is the same in every process and
// of every release, and no defence against somebody who wants a collision: all
// that one could win is a wrong guess at what is cached.
type hash struct {
	state uint64
	some  bool
}

const (
	hashSeed  = 0x9E3779B97F4A7C15 // 2^64 over the golden ratio
	hashPrime = 0xD6E8FEB86659FD93
)

func (h *hash) mix(word uint64) {
	hi, lo := bits.Mul64(h.state^word^hashSeed, hashPrime)
	h.state = hi ^ lo
}

// add takes in a part; its length goes in too, so that parts do not run together.
func (h *hash) add(b []byte) {
	h.some = true
	h.mix(uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		h.mix(binary.LittleEndian.Uint64(b))
	}
	var last [8]byte
	copy(last[:], b)
	h.mix(binary.LittleEndian.Uint64(last[:]))
}

// sum is 0 only if nothing was added.
func (h *hash) sum() uint64 {
	if !h.some {
		return 0
	}
	return max(h.state, 1)
}
