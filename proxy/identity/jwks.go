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
	fetchGap      = 10 * time.Second // between an attempt and one that an unknown key asks for
	fetchTimeout  = 10 * time.Second
	firstRetry    = time.Second // of an attempt that failed, doubling
	lastRetry     = time.Minute
	patience      = 3 * time.Second // of a request whose key is unknown
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
	at   time.Time     // of the newest; zero: there was none
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
	state  atomic.Pointer[snapshot]
}

func newKeySet(j *Issuer, deps Deps) *keySet {
	k := &keySet{url: j.JWKSURL, issuer: j.Name, client: deps.Client, logger: deps.Logger, ask: make(chan struct{}, 1)}
	k.state.Store(&snapshot{err: errNoKeys, next: make(chan struct{})})
	return k
}

// find waits for a fetch only if the key is unknown and it is time for one.
func (k *keySet) find(ctx context.Context, id, algorithm string) ([]any, error) {
	s := k.state.Load()
	if keys := s.find(id, algorithm); keys != nil {
		return keys, nil
	}
	if s.at.IsZero() || time.Since(s.at) >= fetchGap {
		s = k.newer(ctx, s)
	}
	switch keys := s.find(id, algorithm); {
	case keys != nil:
		return keys, nil
	case s.err != nil:
		return nil, errNoKeys
	default:
		return nil, errUnknownKey
	}
}

// newer is the snapshot after s, or one that says that it did not come in time.
func (k *keySet) newer(ctx context.Context, s *snapshot) *snapshot {
	select {
	case k.ask <- struct{}{}:
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-s.next:
		return k.state.Load()
	case <-ctx.Done():
	case <-timer.C:
	}
	return &snapshot{err: errNoKeys}
}

// run fetches until ctx ends.
func (k *keySet) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	retry := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-k.ask:
			if time.Since(k.state.Load().at) < fetchGap {
				continue // asked of a snapshot that has been replaced since
			}
		}
		if k.refresh(ctx) {
			retry = firstRetry
			timer.Reset(refreshEvery)
		} else {
			timer.Reset(retry)
			retry = min(2*retry, lastRetry)
		}
	}
}

// refresh replaces the snapshot and reports whether the attempt succeeded.
func (k *keySet) refresh(ctx context.Context) bool {
	old := k.state.Load()
	keys, err := k.fetch(ctx)
	if err != nil {
		keys = old.keys
	}
	if changed := (err == nil) != (old.err == nil); changed || old.at.IsZero() {
		k.tell(ctx, len(keys), err)
	}
	k.state.Store(&snapshot{keys: keys, at: time.Now(), err: err, next: make(chan struct{})})
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
