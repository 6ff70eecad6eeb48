package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
)

const (
	refreshEvery  = 15 * time.Minute
	fetchGap      = 2 * time.Second // between attempts that unknown keys ask for, in the long run
	fetchBurst    = 4               // so many come at once
	fetchTimeout  = 10 * time.Second
	firstRetry    = time.Second // of an attempt that failed, doubling
	lastRetry     = time.Minute
	patience      = 5 * time.Second // of a request whose key is unknown: the gap, and two attempts
	maxJWKS       = 1 << 20
	maxPublicKeys = 256
)

var (
	errUnknownKey = errors.New("the token names a key that its issuer does not have")
	errNoKeys     = errors.New("the issuer's keys cannot be fetched")
)

// publicKey is one of a JWKS.
type publicKey struct {
	id, algorithm string // empty: not said
	key           any
}

// fits reports whether the key is of the kind that the algorithm needs.
func (k publicKey) fits(algorithm string) bool {
	if k.algorithm != "" && k.algorithm != algorithm {
		return false
	}
	switch k.key.(type) {
	case *rsa.PublicKey:
		return algorithm[0] == 'R' || algorithm[0] == 'P'
	case *ecdsa.PublicKey:
		return algorithm[:2] == "ES"
	case ed25519.PublicKey:
		return algorithm == "EdDSA"
	default:
		return false
	}
}

// snapshot is what is known of an issuer's keys after an attempt to fetch them.
type snapshot struct {
	keys []publicKey   // of the last attempt that succeeded
	nth  int64         // the newest attempt; 0: there was none
	err  error         // of the newest
	next chan struct{} // closed when this snapshot has been replaced
}

// find are the keys that may have signed: all that fit, if the token names none.
func (s *snapshot) find(id, algorithm string) []any {
	var out []any
	for _, k := range s.keys {
		if (id == "" || id == k.id) && k.fits(algorithm) {
			out = append(out, k.key)
		}
	}
	return out
}

// keySet is an issuer's JWKS. One goroutine, run, fetches; everybody else reads.
type keySet struct {
	url    string
	issuer string
	client *http.Client
	logger *slog.Logger
	ask    chan struct{} // wakes run; what does not fit is asked already
	begun  atomic.Int64  // attempts that have begun
	state  atomic.Pointer[snapshot]
}

func newKeySet(j *Issuer, deps Deps) *keySet {
	k := &keySet{url: j.JWKSURL, issuer: j.Name, client: deps.Client, logger: deps.Logger, ask: make(chan struct{}, 1)}
	k.state.Store(&snapshot{err: errNoKeys, next: make(chan struct{})})
	return k
}

// find waits only if the key is unknown: until an attempt has ended that began after
// it was asked for, which all who wait share.
func (k *keySet) find(ctx context.Context, id, algorithm string) ([]any, error) {
	s := k.state.Load()
	if keys := s.find(id, algorithm); keys != nil {
		return keys, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for begun := k.begun.Load(); s.nth <= begun; s = k.state.Load() {
		k.wake()
		select {
		case <-s.next:
		case <-ctx.Done():
			return nil, errNoKeys
		}
		if keys := k.state.Load().find(id, algorithm); keys != nil {
			return keys, nil
		}
	}
	if s.err != nil {
		return nil, errNoKeys
	}
	return nil, errUnknownKey
}

// wake asks run for an attempt.
func (k *keySet) wake() {
	select {
	case k.ask <- struct{}{}:
	default:
	}
}

// run fetches until ctx ends.
func (k *keySet) run(ctx context.Context) {
	due, retry := time.Now(), firstRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	var spent pace
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.ask:
			if at := spent.next(time.Now()); at.Before(due) {
				due = at
				timer.Reset(time.Until(at))
			}
			continue
		case <-timer.C:
		}
		spent.spend(time.Now())
		pause := refreshEvery
		if k.refresh(ctx) {
			retry = firstRetry
		} else {
			pause, retry = retry, min(2*retry, lastRetry)
		}
		due = time.Now().Add(pause)
		timer.Reset(pause)
	}
}

// pace bounds the attempts that unknown keys ask for: fetchBurst at once, and then one
// in each fetchGap. It is when all of the burst will be there again.
type pace struct{ full time.Time }

func (p *pace) spend(now time.Time) {
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(fetchGap)
}

// next is when the next attempt may begin.
func (p *pace) next(now time.Time) time.Time {
	if at := p.full.Add(-(fetchBurst - 1) * fetchGap); at.After(now) {
		return at
	}
	return now
}

// refresh replaces the snapshot and reports whether the attempt succeeded.
func (k *keySet) refresh(ctx context.Context) bool {
	old, nth := k.state.Load(), k.begun.Add(1)
	keys, err := k.fetch(ctx)
	if err != nil {
		keys = old.keys
	}
	if changed := (err == nil) != (old.err == nil); changed || old.nth == 0 {
		k.tell(ctx, len(keys), err)
	}
	k.state.Store(&snapshot{keys: keys, nth: nth, err: err, next: make(chan struct{})})
	close(old.next)
	return err == nil
}

func (k *keySet) tell(ctx context.Context, keys int, err error) {
	attrs := []slog.Attr{slog.String("issuer", k.issuer), slog.String("url", k.url), slog.Int("keys", keys)}
	if err != nil {
		k.logger.LogAttrs(ctx, slog.LevelWarn, "the issuer's keys cannot be fetched", append(attrs, slog.Any("error", err))...)
		return
	}
	k.logger.LogAttrs(ctx, slog.LevelInfo, "the issuer's keys are here", attrs...)
}

func (k *keySet) fetch(ctx context.Context) ([]publicKey, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, fmt.Errorf("the JWKS: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the JWKS: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the JWKS: the issuer answers %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("the JWKS: %w", err)
	}
	if len(body) > maxJWKS {
		return nil, fmt.Errorf("the JWKS: the answer is longer than %d bytes", maxJWKS)
	}
	return parseJWKS(body)
}

// parseJWKS keeps the public keys that can verify signatures. One that is of no
// use, or broken, does not spoil the others.
func parseJWKS(body []byte) ([]publicKey, error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("the JWKS: %w", err)
	}
	var out []publicKey
	for _, m := range set.Keys {
		if m.USE == jwkset.UseEnc || len(out) == maxPublicKeys {
			continue
		}
		// without Private in the options, a secret is an error
		key, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
		if err != nil {
			continue
		}
		out = append(out, publicKey{id: m.KID, algorithm: m.ALG.String(), key: key.Key()})
	}
	if len(out) == 0 {
		return nil, errors.New("the JWKS: there is no key in it that could verify a signature")
	}
	return out, nil
}
