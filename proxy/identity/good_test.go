package identity

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// TestAKnownTokenExpires: that it was good says nothing of later.
func TestAKnownTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newIssuer(&Issuer{Name: "sso", Secret: secret, Algorithms: []string{"HS256"}, Leeway: 30 * time.Second}, Deps{})
		token := sign(t, secret, map[string]any{"sub": "anna", "exp": time.Now().Add(time.Minute).Unix()})
		for _, after := range []time.Duration{0, 59 * time.Second, 30 * time.Second} { // the last within the leeway
			pass(after)
			if c, err := s.verify(t.Context(), token); err != nil || c.text("sub") != "anna" {
				t.Errorf("%v later: %v %v", after, c, err)
			}
		}
		pass(2 * time.Second)
		if _, err := s.verify(t.Context(), token); !errors.Is(err, jwt.ErrTokenExpired) {
			t.Errorf("after its end: %v", err)
		}
	})
}

// TestAKnownTokenOfAKeyThatIsGone: an issuer takes tokens back by taking back the key.
func TestAKnownTokenOfAKeyThatIsGone(t *testing.T) {
	old, next := newSigner(t), newSigner(t)
	p := &idp{body: jwksOf(t, map[string]any{"old": &old.PublicKey})}
	bubble(t, p, func(w world) {
		t, i := w.t, w.i
		token := tokenOf(t, jwt.SigningMethodES256, old, "old")
		wantIn(t, i, token)
		wantIn(t, i, token)
		p.set(func(p *idp) { p.body = jwksOf(t, map[string]any{"next": &next.PublicKey}) })
		pass(refreshEvery)
		wantOut(t, i, token, ReasonUnknownSigner)
	})
}

// TestAnotherTokenIsNotKnown: one changed letter makes it another one.
func TestAnotherTokenIsNotKnown(t *testing.T) {
	s := newIssuer(&Issuer{Name: "sso", Secret: secret, Algorithms: []string{"HS256"}}, Deps{})
	token := sign(t, secret, map[string]any{"sub": "anna"})
	forged := sign(t, secret+"!", map[string]any{"sub": "anna"})
	if _, err := s.verify(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if _, err := s.verify(t.Context(), forged); err == nil {
		t.Error("a forged token is believed after a good one")
	}
}

// TestGoodTokensAreBounded: whoever has tokens made without end fills no memory.
func TestGoodTokensAreBounded(t *testing.T) {
	s := newGoodTokens()
	digest := func(n uint64) (d [sha256.Size]byte) {
		binary.LittleEndian.PutUint64(d[:], n)
		return d
	}
	until := time.Now().Add(time.Hour)
	for n := range uint64(5 * mostGood) {
		s.put(digest(n), said{claims: claims{}, until: until})
	}
	if n := len(s.now) + len(s.old); n > 2*mostGood {
		t.Errorf("%d tokens are remembered", n)
	}
	if s.get(digest(5*mostGood-1), nil) == nil || s.get(digest(0), nil) != nil {
		t.Error("the newest is forgotten, or the oldest is not")
	}
}

// BenchmarkToken is what a token costs that comes again, beside one that is new.
func BenchmarkToken(b *testing.B) {
	s := newIssuer(&Issuer{Name: "sso", Secret: secret, Algorithms: []string{"HS256"}, Issuer: "https://sso"}, Deps{})
	token := sign(b, secret, map[string]any{"sub": "anna", "iss": "https://sso", "email": "anna@example.com"})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.good = newGoodTokens()
			if _, err := s.verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
