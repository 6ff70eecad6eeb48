package identity

import (
	"crypto/sha256"
	"sync"
	"time"
)

// mostGood is how many tokens of a generation are remembered, by issuer.
const mostGood = 1024

// goodTokens are the tokens of an issuer that verified, by digest, with what they say. A
// client sends the same one with every request, and to verify it costs as much as
// all else that is asked about who is calling. It holds two generations: what did
// not come while a whole one filled is forgotten, so memory is bounded.
type goodTokens struct {
	mu       sync.RWMutex
	now, old map[[sha256.Size]byte]said
}

// said is what a token says. It is not changed any more.
type said struct {
	claims claims
	until  time.Time // it expires; then it is verified anew, and there is no leeway before
	keys   *snapshot // of which it was verified; nil: by a secret
}

func newGoodTokens() *goodTokens { return &goodTokens{now: map[[sha256.Size]byte]said{}} }

// get is what a token says that verified with the keys of now; nil: it is not known.
func (s *goodTokens) get(digest [sha256.Size]byte, keys *snapshot) claims {
	s.mu.RLock()
	t, ok := s.now[digest]
	if !ok {
		t, ok = s.old[digest]
	}
	s.mu.RUnlock()
	if !ok || t.keys != keys || !time.Now().Before(t.until) {
		return nil
	}
	return t.claims
}

func (s *goodTokens) put(digest [sha256.Size]byte, t said) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.now) >= mostGood {
		s.now, s.old = map[[sha256.Size]byte]said{}, s.now
	}
	s.now[digest] = t
}
