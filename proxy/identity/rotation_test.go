package identity

import (
	"crypto"
	"crypto/ecdsa"
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// ring is an issuer that changes its keys as issuers do: the next one is shown before
// it signs, and the last one for a while after.
type ring struct {
	t       *testing.T
	p       *idp
	shown   map[string]any
	signers map[string]crypto.Signer
	last    string // signed before
	now     string // signs
}

func newRing(t *testing.T) *ring {
	t.Helper()
	r := &ring{t: t, p: &idp{}, shown: map[string]any{}, signers: map[string]crypto.Signer{}}
	r.turn()
	return r
}

// turn makes a new key the one that signs.
func (r *ring) turn() {
	r.t.Helper()
	key := newSigner(r.t)
	delete(r.shown, r.last)
	r.last, r.now = r.now, fmt.Sprint("k", len(r.signers))
	r.shown[r.now], r.signers[r.now] = &key.PublicKey, key
	body := jwksOf(r.t, r.shown)
	r.p.set(func(p *idp) { p.body = body })
}

func (r *ring) token(kid string) string {
	r.t.Helper()
	return tokenOf(r.t, jwt.SigningMethodES256, r.signers[kid], kid)
}

// crowd asks many times at once, with the new key and with the old one.
func (r *ring) crowd(t *testing.T, i *Identifier) {
	t.Helper()
	var all sync.WaitGroup
	for n := range 100 {
		kid := r.now
		if n%2 == 0 && r.last != "" {
			kid = r.last
		}
		token := r.token(kid)
		all.Go(func() { wantIn(t, i, token) })
	}
	all.Wait()
}

// forge sends tokens, each with a key of its own that nobody has, until it is ended.
func forge(t *testing.T, i *Identifier, key *ecdsa.PrivateKey, several int) (end func()) {
	t.Helper()
	var all sync.WaitGroup
	var over atomic.Bool
	var made atomic.Int64
	for range several {
		all.Go(func() {
			for !over.Load() {
				wantOut(t, i, tokenOf(t, jwt.SigningMethodES256, key, fmt.Sprint("forged", made.Add(1))), ReasonUnknownSigner)
			}
		})
	}
	return func() {
		over.Store(true)
		all.Wait()
		if made.Load() == 0 {
			t.Error("nothing was forged")
		}
	}
}

func TestRotation(t *testing.T) {
	old, next := newSigner(t), newSigner(t)
	p := &idp{body: jwksOf(t, map[string]any{"old": &old.PublicKey})}
	bubble(t, p, func(w world) {
		t, i := w.t, w.i
		wantIn(t, i, tokenOf(t, jwt.SigningMethodES256, old, "old"))
		p.set(func(p *idp) { p.body = jwksOf(t, map[string]any{"next": &next.PublicKey}) })
		begin := time.Now()
		wantIn(t, i, tokenOf(t, jwt.SigningMethodES256, next, "next"))
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("a key that came at once after the last attempt was waited for: %v", waited)
		}
		if n := p.fetches.Load(); n > 3 {
			t.Errorf("%d fetches", n)
		}
		wantOut(t, i, tokenOf(t, jwt.SigningMethodES256, old, "old"), ReasonUnknownSigner)
	})
}

// TestRotationUnderLoad: while an issuer changes its keys no request fails, not the
// first with a new key, nor those with the old one as long as it is there, and not
// right after the last change either.
func TestRotationUnderLoad(t *testing.T) {
	r := newRing(t)
	bubble(t, r.p, func(w world) {
		for n := range 10 {
			r.crowd(w.t, w.i)
			pass(time.Duration(n) * 300 * time.Millisecond)
			r.turn()
			r.crowd(w.t, w.i)
		}
	})
}

// TestRotationWhileSomebodyForges: no request fails either, and the issuer is not asked
// more often than it has to be.
func TestRotationWhileSomebodyForges(t *testing.T) {
	r, key := newRing(t), newSigner(t)
	bubble(t, r.p, func(w world) {
		end := forge(w.t, w.i, key, 20)
		begin := time.Now()
		for n := range 12 {
			pass(time.Duration(n) * 700 * time.Millisecond)
			r.turn()
			r.crowd(w.t, w.i)
		}
		took := time.Since(begin)
		if n, most := int(r.p.fetches.Load()), fetchBurst+int(took/fetchGap)+1; n > most {
			w.t.Errorf("%d fetches in %v, more than %d", n, took, most)
		}
		end()
	})
}

// TestRotationOverHTTP is the same over sockets, with the time of the day.
func TestRotationOverHTTP(t *testing.T) {
	t.Parallel()
	r, key := newRing(t), newSigner(t)
	srv := httptest.NewServer(r.p)
	t.Cleanup(srv.Close)
	client := srv.Client()
	t.Cleanup(client.CloseIdleConnections)
	i, err := New(Config{JWT: []Issuer{jwksIssuer(srv.URL)}}, Deps{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	i.Start(t.Context())
	t.Cleanup(i.Stop)
	end := forge(t, i, key, 4)
	for range 3 {
		r.turn()
		r.crowd(t, i)
	}
	end()
	if n := r.p.fetches.Load(); n < 3 {
		t.Errorf("%d fetches for three changes", n)
	}
}

func TestUnknownKeysDoNotFlood(t *testing.T) {
	p := &idp{body: jwksOf(t, map[string]any{"k": &newSigner(t).PublicKey})}
	bubble(t, p, func(w world) {
		t, i := w.t, w.i
		token := tokenOf(t, jwt.SigningMethodES256, newSigner(t), "forged")
		synctest.Wait()
		var all sync.WaitGroup
		const minute = 60
		for range minute {
			for range 20 {
				all.Go(func() { wantOut(t, i, token, ReasonUnknownSigner) })
			}
			pass(time.Second)
		}
		all.Wait()
		if n, most := int(p.fetches.Load()), fetchBurst+int(time.Minute/fetchGap)+1; n > most || n < most-3 {
			t.Errorf("%d fetches in a minute of forged tokens, want about %d", n, most)
		}
	})
}

func TestPace(t *testing.T) {
	now := time.Unix(0, 0)
	var p pace
	for n := range fetchBurst {
		if at := p.next(now); !at.Equal(now) {
			t.Errorf("attempt %d waits %v", n, at.Sub(now))
		}
		p.spend(now)
	}
	for range 3 {
		at := p.next(now)
		if at.Sub(now) != fetchGap {
			t.Errorf("the next attempt is after %v", at.Sub(now))
		}
		now = at
		p.spend(now)
	}
	now = now.Add(time.Hour)
	p.spend(now)
	if at := p.next(now); !at.Equal(now) {
		t.Errorf("after an hour the burst is not there: %v", at.Sub(now))
	}
}
