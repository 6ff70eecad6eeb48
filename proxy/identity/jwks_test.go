package identity

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"fairlane/scheduler"
)

// jwksOf is the JWKS of public keys by their ids.
func jwksOf(tb testing.TB, keys map[string]any) []byte {
	tb.Helper()
	var set jwkset.JWKSMarshal
	for id, key := range keys {
		jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: id}})
		if err != nil {
			tb.Fatal(err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	body, err := json.Marshal(set)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

func newSigner(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func jwksIssuer(url string) Issuer {
	return Issuer{Name: "sso", JWKSURL: url, Issuer: "https://sso", Audience: "fairlane"}
}

func tokenOf(tb testing.TB, method jwt.SigningMethod, key crypto.Signer, id string) string {
	tb.Helper()
	var header map[string]any
	if id != "" {
		header = map[string]any{"kid": id}
	}
	return signWith(tb, method, key, map[string]any{"iss": "https://sso", "aud": "fairlane", "sub": "anna"}, header)
}

func TestJWKSOverHTTP(t *testing.T) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e := newSigner(t)
	_, d, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	body := jwksOf(t, map[string]any{"r": &r.PublicKey, "e": &e.PublicKey, "d": d.Public()})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	defer srv.Close()
	client := srv.Client()
	defer client.CloseIdleConnections()
	i, err := New(Config{JWT: []Issuer{jwksIssuer(srv.URL)}}, Deps{Client: client})
	if err != nil {
		t.Fatal(err)
	}
	i.Start(t.Context())
	i.Start(t.Context())
	defer i.Stop()
	defer i.Stop()
	for _, tt := range []struct {
		name   string
		token  string
		reason Reason
	}{
		{"RS256", tokenOf(t, jwt.SigningMethodRS256, r, "r"), ""},
		{"ES256", tokenOf(t, jwt.SigningMethodES256, e, "e"), ""},
		{"EdDSA", tokenOf(t, jwt.SigningMethodEdDSA, d, "d"), ""},
		{"no kid", tokenOf(t, jwt.SigningMethodES256, e, ""), ""},
		{"another key's kid", tokenOf(t, jwt.SigningMethodES256, e, "r"), ReasonUnknownSigner},
		{"an unknown kid", tokenOf(t, jwt.SigningMethodES256, e, "x"), ReasonUnknownSigner},
		{"another signer", tokenOf(t, jwt.SigningMethodES256, newSigner(t), "e"), ReasonSignature},
		{"an algorithm that was not pinned", tokenOf(t, jwt.SigningMethodPS256, r, "r"), ReasonAlgorithm},
	} {
		id, problem := i.Identify(request(headers{"Authorization": "Bearer " + tt.token}))
		switch {
		case tt.reason == "" && (problem != nil || id.UserKey != "user:anna"):
			t.Errorf("%s: %+v %v", tt.name, id, problem)
		case tt.reason != "" && (problem == nil || problem.Reason != tt.reason):
			t.Errorf("%s: %+v %+v", tt.name, id, problem)
		}
	}
}

func TestParseJWKS(t *testing.T) {
	good := strings.TrimSuffix(strings.TrimPrefix(string(jwksOf(t, map[string]any{"k": &newSigner(t).PublicKey})), `{"keys":[`), `]}`)
	for _, tt := range []struct {
		name, body string
		keys       int
	}{
		{"one", `{"keys":[` + good + `]}`, 1},
		{"a broken one beside it", `{"keys":[{"kty":"RSA","n":"!","e":"AQAB"},{"kty":"XX"},` + good + `]}`, 1},
		{"a secret is no public key", `{"keys":[{"kty":"oct","k":"AAAA","kid":"s"},` + good + `]}`, 1},
		{"only a secret", `{"keys":[{"kty":"oct","k":"AAAA"}]}`, 0},
		{"one for encryption", `{"keys":[` + strings.Replace(good, `"kty"`, `"use":"enc","kty"`, 1) + `]}`, 0},
		{"none", `{"keys":[]}`, 0},
		{"no JWKS", `<html>`, 0},
	} {
		keys, err := parseJWKS([]byte(tt.body))
		if len(keys) != tt.keys || (err == nil) != (tt.keys > 0) {
			t.Errorf("%s: %d keys, %v", tt.name, len(keys), err)
		}
	}
}

// idp is an identity provider over HTTP inside a synctest bubble.
type idp struct {
	mu      sync.Mutex
	body    []byte
	status  int  // 0: 200
	stall   bool // no answer until the client leaves
	fetches atomic.Int32
	wrote   atomic.Int64 // bytes
}

func (p *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.fetches.Add(1)
	p.mu.Lock()
	body, status, stall := p.body, p.status, p.stall
	p.mu.Unlock()
	if stall {
		<-r.Context().Done()
	}
	if status != 0 {
		w.WriteHeader(status)
	}
	for len(body) > 0 {
		n, err := w.Write(body[:min(len(body), 64<<10)])
		if p.wrote.Add(int64(n)); err != nil {
			return
		}
		body = body[n:]
	}
}

func (p *idp) set(change func(*idp)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// pipes is a listener without sockets, so that time stays fake.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (l *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// world is what a test in a bubble has.
type world struct {
	t *testing.T
	i *Identifier
}

// bubble runs f with an identifier whose issuer is p, and fake time.
func bubble(t *testing.T, p *idp, f func(w world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		srv := &http.Server{Handler: p}
		go func() { _ = srv.Serve(l) }()
		defer srv.Close()
		i, err := New(Config{JWT: []Issuer{jwksIssuer("http://idp/certs")}}, Deps{Client: &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableKeepAlives: true}}})
		if err != nil {
			t.Fatal(err)
		}
		i.Start(t.Context())
		defer i.Stop()
		f(world{t, i})
	})
}

// ask returns the code and the reason of the answer; both empty: it was let in.
func ask(t *testing.T, i *Identifier, token string) (scheduler.Code, Reason) {
	t.Helper()
	_, problem := i.Identify(request(headers{"Authorization": "Bearer " + token}).WithContext(t.Context()))
	if problem == nil {
		return "", ""
	}
	return problem.Code, problem.Reason
}

func wantIn(t *testing.T, i *Identifier, token string) {
	t.Helper()
	if code, reason := ask(t, i, token); code != "" {
		t.Errorf("%s %s, want to be let in", code, reason)
	}
}

func wantOut(t *testing.T, i *Identifier, token string, want Reason) {
	t.Helper()
	code, reason := ask(t, i, token)
	wantCode := scheduler.CodeInvalidAPIKey
	if want == ReasonIssuerKeysDown {
		wantCode = scheduler.CodeOverloaded
	}
	if code != wantCode || reason != want {
		t.Errorf("%s %s, want %s %s", code, reason, wantCode, want)
	}
}

func pass(d time.Duration) { <-time.After(d); synctest.Wait() }

func TestRefreshWithoutBeingAsked(t *testing.T) {
	key := newSigner(t)
	p := &idp{body: jwksOf(t, map[string]any{"k": &key.PublicKey})}
	bubble(t, p, func(w world) {
		t, i := w.t, w.i
		wantIn(t, i, tokenOf(t, jwt.SigningMethodES256, key, "k"))
		p.set(func(p *idp) { p.body = jwksOf(t, map[string]any{"other": &newSigner(t).PublicKey}) })
		pass(refreshEvery)
		wantOut(t, i, tokenOf(t, jwt.SigningMethodES256, key, "k"), ReasonUnknownSigner) // revoked
	})
}

func TestIssuerAwayAtTheStart(t *testing.T) {
	key := newSigner(t)
	p := &idp{status: http.StatusBadGateway, body: jwksOf(t, map[string]any{"k": &key.PublicKey})}
	bubble(t, p, func(w world) {
		t, i := w.t, w.i
		wantOut(t, i, tokenOf(t, jwt.SigningMethodES256, key, "k"), ReasonIssuerKeysDown)
		if findings := i.Findings(); len(findings) != 1 || !strings.Contains(findings[0].Problem, "502") {
			t.Errorf("findings %v", findings)
		}
		p.set(func(p *idp) { p.status = 0 })
		pass(2 * firstRetry)
		wantIn(t, i, tokenOf(t, jwt.SigningMethodES256, key, "k"))
		if findings := i.Findings(); len(findings) != 0 {
			t.Errorf("findings %v", findings)
		}
	})
}

func TestIssuerAwayLater(t *testing.T) {
	key := newSigner(t)
	p := &idp{body: jwksOf(t, map[string]any{"k": &key.PublicKey})}
	bubble(t, p, func(w world) {
		t, i := w.t, w.i
		wantIn(t, i, tokenOf(t, jwt.SigningMethodES256, key, "k"))
		p.set(func(p *idp) { p.status = http.StatusServiceUnavailable })
		pass(2 * refreshEvery)
		wantIn(t, i, tokenOf(t, jwt.SigningMethodES256, key, "k"))                          // what was fetched stays good
		wantOut(t, i, tokenOf(t, jwt.SigningMethodES256, key, "new"), ReasonIssuerKeysDown) // nobody can tell
	})
}

func TestRetriesSlowDown(t *testing.T) {
	p := &idp{status: http.StatusBadGateway, body: jwksOf(t, map[string]any{"k": &newSigner(t).PublicKey})}
	bubble(t, p, func(w world) {
		pass(30 * time.Minute)
		const most = 6 + 30 // 1, 2, 4, … seconds, then every minute
		if n := p.fetches.Load(); n < most-3 || n > most+1 {
			w.t.Errorf("%d fetches in half an hour, want about %d", n, most)
		}
		p.set(func(p *idp) { p.status = 0 })
		pass(lastRetry)
		p.set(func(p *idp) { p.status = http.StatusBadGateway })
		before := p.fetches.Load()
		for p.fetches.Load() == before {
			pass(firstRetry / 2)
		}
		before++
		pass(3 * firstRetry)
		if n := p.fetches.Load() - before; n < 1 {
			w.t.Errorf("%d retries within %v after it went away again", n, 3*firstRetry)
		}
	})
}

func TestKeysFitTheirAlgorithm(t *testing.T) {
	e := &newSigner(t).PublicKey
	for _, tt := range []struct {
		key       publicKey
		algorithm string
		want      bool
	}{
		{publicKey{key: e}, "ES256", true},
		{publicKey{key: e, algorithm: "ES256"}, "ES256", true},
		{publicKey{key: e, algorithm: "ES384"}, "ES256", false},
		{publicKey{key: e}, "RS256", false},
		{publicKey{key: e}, "EdDSA", false},
		{publicKey{key: &rsa.PublicKey{}}, "PS256", true},
		{publicKey{key: &rsa.PublicKey{}}, "ES256", false},
		{publicKey{key: ed25519.PublicKey{}}, "EdDSA", true},
		{publicKey{key: []byte("secret")}, "HS256", false},
	} {
		if got := tt.key.fits(tt.algorithm); got != tt.want {
			t.Errorf("%T %s for %s: %v", tt.key.key, tt.key.algorithm, tt.algorithm, got)
		}
	}
}

func TestAStalledIssuerHoldsNobodyElse(t *testing.T) {
	key := newSigner(t)
	p := &idp{body: jwksOf(t, map[string]any{"k": &key.PublicKey})}
	bubble(t, p, func(w world) {
		t, i := w.t, w.i
		wantIn(t, i, tokenOf(t, jwt.SigningMethodES256, key, "k"))
		p.set(func(p *idp) { p.stall = true })
		pass(fetchGap)
		token := tokenOf(t, jwt.SigningMethodES256, key, "k")
		begin := time.Now()
		var unknown sync.WaitGroup
		unknown.Go(func() {
			wantOut(t, i, tokenOf(t, jwt.SigningMethodES256, key, "new"), ReasonIssuerKeysDown)
			if waited := time.Since(begin); waited != patience {
				t.Errorf("the unknown key waited %v, want %v", waited, patience)
			}
		})
		synctest.Wait() // it waits for the fetch
		wantIn(t, i, token)
		if waited := time.Since(begin); waited != 0 {
			t.Errorf("a known key waited %v", waited)
		}
		unknown.Wait()
	})
}

func TestAClientThatLeavesDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKeySet(&Issuer{Name: "sso", JWKSURL: "http://idp"}, Deps{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if _, err := k.find(ctx, "k", "ES256"); !errors.Is(err, errNoKeys) || time.Since(begin) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestAHugeJWKSIsRefused(t *testing.T) {
	p := &idp{body: []byte(`{"keys":[` + strings.Repeat(" ", 4*maxJWKS) + `]}`)}
	bubble(t, p, func(w world) {
		t, i := w.t, w.i
		wantOut(t, i, tokenOf(t, jwt.SigningMethodES256, newSigner(t), "k"), ReasonIssuerKeysDown)
		if findings := i.Findings(); len(findings) != 1 || !strings.Contains(findings[0].Problem, "longer than") {
			t.Errorf("findings %v", findings)
		}
		if n := p.wrote.Load(); n > 2*maxJWKS*int64(p.fetches.Load()) {
			t.Errorf("%d bytes were read", n)
		}
	})
}

func TestStopEndsAFetch(t *testing.T) {
	p := &idp{stall: true}
	bubble(t, p, func(w world) {
		t, i := w.t, w.i
		synctest.Wait()
		i.Stop()
		i.Stop()
		if n := p.fetches.Load(); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}
