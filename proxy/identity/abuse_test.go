package identity

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fairlane/scheduler"
)

// raw is a token of a header and claims as they stand, signed by nobody, or with a
// secret.
func raw(t *testing.T, header, body map[string]any, secret []byte) string {
	t.Helper()
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	text := part(header) + "." + part(body)
	if secret == nil {
		return text + "."
	}
	mac, err := jwt.SigningMethodHS256.Sign(text, secret)
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(mac)
}

// goodClaims are what a good token of the issuer of a test says.
func goodClaims() map[string]any {
	return map[string]any{"iss": "https://sso", "aud": "fairlane", "preferred_username": "x", "exp": time.Now().Add(time.Hour).Unix()}
}

func changed(key string, v any) map[string]any {
	c := goodClaims()
	if v == nil {
		delete(c, key)
	} else {
		c[key] = v
	}
	return c
}

// abuse sends tokens to an issuer with a secret: each is refused, for its reason.
func abuse(t *testing.T, cases map[string]struct {
	token  string
	reason Reason
},
) {
	t.Helper()
	i := mustNew(t, Config{JWT: []Issuer{sso()}, Anonymous: AnonymousDeny})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { wantOut(t, i, tc.token, tc.reason) })
	}
}

type abused = map[string]struct {
	token  string
	reason Reason
}

func hs256() map[string]any { return map[string]any{"alg": "HS256", "typ": "JWT"} }

func TestAbuseAlgNone(t *testing.T) {
	cases := abused{}
	for _, alg := range []string{"none", "None", "nOnE", "NONE"} {
		want := ReasonMalformed // the library knows no such name
		if alg == "none" {
			want = ReasonAlgorithm
		}
		cases[alg] = struct {
			token  string
			reason Reason
		}{raw(t, map[string]any{"alg": alg}, goodClaims(), nil), want}
	}
	cases["signed all the same"] = struct {
		token  string
		reason Reason
	}{raw(t, map[string]any{"alg": "none"}, goodClaims(), []byte(secret+"2")), ReasonAlgorithm}
	abuse(t, cases)
}

func TestAbuseClaims(t *testing.T) {
	hour := time.Hour
	key := []byte(secret + "2")
	token := func(c map[string]any) string { return raw(t, hs256(), c, key) }
	abuse(t, abused{
		"no iss":                   {token(changed("iss", nil)), ReasonWrongIssuer},
		"a wrong iss":              {token(changed("iss", "https://evil")), ReasonWrongIssuer},
		"iss in another case":      {token(changed("iss", "HTTPS://sso")), ReasonWrongIssuer},
		"no aud":                   {token(changed("aud", nil)), ReasonIncomplete},
		"a wrong aud":              {token(changed("aud", "other")), ReasonWrongAudience},
		"wrong auds":               {token(changed("aud", []string{"other", "fairlane2"})), ReasonWrongAudience},
		"an aud that is none":      {token(changed("aud", 17)), ReasonIncomplete},
		"expired":                  {token(changed("exp", time.Now().Add(-hour).Unix())), ReasonExpiredToken},
		"no exp":                   {token(changed("exp", nil)), ReasonIncomplete},
		"an exp that is none":      {token(changed("exp", "never")), ReasonMalformed},
		"not yet valid":            {token(changed("nbf", time.Now().Add(hour).Unix())), ReasonNotYetValid},
		"nobody":                   {token(changed("preferred_username", nil)), ReasonNoUser},
		"a name of blanks":         {token(changed("preferred_username", " \u200b ")), ReasonNoUser},
		"somebody else's secret":   {raw(t, hs256(), goodClaims(), []byte("guessed")), ReasonSignature},
		"a critical extension":     {raw(t, map[string]any{"alg": "HS256", "crit": []string{"exp"}}, goodClaims(), key), ReasonMalformed},
		"a signature cut short":    {strings.TrimSuffix(token(goodClaims()), token(goodClaims())[len(token(goodClaims()))-4:]), ReasonSignature},
		"two dots and nothing":     {"..", ReasonMalformed},
		"no base64":                {"!.!.!", ReasonMalformed},
		"another kind of HS":       {mustSign(t, jwt.SigningMethodHS512, key), ReasonAlgorithm},
		"longer than any token is": {strings.Repeat("a", maxCredential) + ".b.c", ReasonMalformed},
	})
}

func mustSign(t *testing.T, m jwt.SigningMethod, key any) string {
	t.Helper()
	s, err := jwt.NewWithClaims(m, jwt.MapClaims(goodClaims())).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAbuseGiantTokens are refused before anything is made of them.
func TestAbuseGiantTokens(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{sso(), openWebUI()}})
	giant := strings.Repeat("a.", 4<<20)
	for _, h := range []headers{{"Authorization": "Bearer " + giant}, {"X-Api-Key": giant}, {"X-OpenWebUI-User-Jwt": giant, "Authorization": "Bearer k-owui"}} {
		r := request(h)
		made := testing.AllocsPerRun(3, func() {
			if _, p := i.Identify(r); p == nil || p.Reason != ReasonMalformed {
				t.Fatalf("%v", p)
			}
		})
		if made > 50 {
			t.Errorf("%v allocations", made)
		}
	}
}

// TestAbuseKeyIDs: what a kid holds is looked for among the keys, and nowhere else.
func TestAbuseKeyIDs(t *testing.T) {
	key := newSigner(t)
	var asked sync.Map
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.String(), true)
		_, _ = w.Write(jwksOf(t, map[string]any{"k": &key.PublicKey}))
	}))
	t.Cleanup(srv.Close)
	i := mustNew(t, Config{JWT: []Issuer{jwksIssuer(srv.URL + "/certs")}})
	i.Start(t.Context())
	t.Cleanup(i.Stop)
	wantIn(t, i, tokenOf(t, jwt.SigningMethodES256, key, "k"))
	var all sync.WaitGroup // they wait together
	for _, kid := range []string{"../../../../etc/passwd", "/dev/null", "k\x00", "k' OR '1'='1", "http://evil.example.com/jwks", srv.URL + "/evil", "K", "|id", strings.Repeat("k", 4000)} {
		token := tokenOf(t, jwt.SigningMethodES256, newSigner(t), kid)
		all.Go(func() { wantOut(t, i, token, ReasonUnknownSigner) })
	}
	for _, header := range []string{"jku", "x5u"} {
		token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{"iss": "https://sso", "aud": "fairlane", "sub": "x", "exp": time.Now().Add(time.Hour).Unix()})
		token.Header["kid"], token.Header[header] = "evil", srv.URL+"/evil"
		s, err := token.SignedString(newSigner(t))
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { wantOut(t, i, s, ReasonUnknownSigner) })
	}
	all.Wait()
	asked.Range(func(url, _ any) bool {
		if url != "/certs" {
			t.Errorf("%v was asked for", url)
		}
		return true
	})
}

// TestAbuseJWKS: an endpoint that answers rubbish keeps people out, and the process
// alive; that of one that hangs, or of one that answers without an end, too.
func TestAbuseJWKS(t *testing.T) {
	for name, body := range map[string]string{
		"nothing": "", "a page": "<html>", "half of it": `{"keys":[{"kty":"EC"`, "no keys": `{"keys":[]}`, "null": "null", "a number of keys": `{"keys":17}`,
		"keys that are none": `{"keys":[{},{"kty":"EC","crv":"P-256","x":"AA","y":"AA","kid":"k"},{"kty":"oct","k":"c2VjcmV0","kid":"k"},17]}`,
		"a deep one":         strings.Repeat(`{"keys":[`, 20000),
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, &idp{body: []byte(body)}, func(w world) {
				wantOut(w.t, w.i, tokenOf(w.t, jwt.SigningMethodES256, newSigner(w.t), "k"), ReasonIssuerKeysDown)
			})
		})
	}
	t.Run("it hangs", func(t *testing.T) {
		bubble(t, &idp{stall: true}, func(w world) {
			begin := time.Now()
			wantOut(w.t, w.i, tokenOf(w.t, jwt.SigningMethodES256, newSigner(w.t), "k"), ReasonIssuerKeysDown)
			if waited := time.Since(begin); waited != patience {
				w.t.Errorf("waited %v", waited)
			}
		})
	})
}

// TestAbuseSpoofedHeaders: who is no forwarder names nobody, whatever they send.
func TestAbuseSpoofedHeaders(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI(), sso()}})
	spoof := person(headers{"X-OpenWebUI-User-Email": "boss@example.com", "X-OpenWebUI-User-Role": "admin"})
	for name, credential := range map[string]headers{
		"nobody":         nil,
		"a key":          {"Authorization": "Bearer k-plain"},
		"a token":        {"Authorization": "Bearer " + mint(t, secret+"2", Token{Issuer: "https://sso", Audience: "fairlane", Subject: "s", Email: "e@example.com"})},
		"a user's token": {"Authorization": "Bearer k-ci", "X-OpenWebUI-User-Jwt": signed(t)},
	} {
		h := headers{}
		maps.Copy(h, spoof)
		maps.Copy(h, credential)
		id, p := i.Identify(request(h))
		if p != nil {
			if name != "a token" { // it has no preferred_username
				t.Errorf("%s: %v", name, p)
			}
			continue
		}
		if strings.Contains(fmt.Sprintf("%+v", id), "boss") || strings.Contains(fmt.Sprint(id.Groups), "vip") || id.Task != "" || id.Forwarder {
			t.Errorf("%s: %+v", name, id)
		}
	}
}

// TestAbuseUnverifiedEmail: an address that the issuer does not vouch for makes
// nobody its owner, however it is sent.
func TestAbuseUnverifiedEmail(t *testing.T) {
	for _, link := range []string{LinkEmail, LinkNone} {
		i := mustNew(t, Config{JWT: []Issuer{sso()}, LinkBy: link})
		for _, body := range []map[string]any{
			changed("email", "boss@example.com"),
			{"iss": "https://sso", "aud": "fairlane", "preferred_username": "boss@example.com", "email": "boss@example.com", "email_verified": false, "exp": goodClaims()["exp"]},
			{"iss": "https://sso", "aud": "fairlane", "preferred_username": "BOSS@example.com", "email_verified": "no", "exp": goodClaims()["exp"]},
		} {
			id, p := i.Identify(request(headers{"Authorization": "Bearer " + raw(t, hs256(), body, []byte(secret+"2"))}))
			if p != nil || id.Email != "" || id.UserKey == "user:boss@example.com" || strings.EqualFold(id.ID, "boss@example.com") {
				t.Errorf("%s: %v: %+v %v", link, body, id, p)
			}
			if strings.Contains(id.UserKey, "sso/sso/") {
				t.Errorf("%s is named twice", id.UserKey)
			}
		}
	}
}

// TestAbuseForwardedFor of a stranger is what a stranger says.
func TestAbuseForwardedFor(t *testing.T) {
	i := mustNew(t, Config{FailedCredentials: Rate{1, time.Hour}, APIKeys: someKeys()})
	for n := range 3 {
		h := headers{"Authorization": "Bearer guess", "X-Forwarded-For": fmt.Sprintf("198.51.100.%d", n), "X-Real-Ip": "198.51.100.9", "Forwarded": "for=198.51.100.9"}
		id, p := i.Identify(request(h))
		want := scheduler.CodeInvalidAPIKey
		if n > 0 {
			want = scheduler.CodeRateLimit
		}
		if id.IP != "192.0.2.7" || p.Code != want {
			t.Errorf("%s: %v", id.IP, p)
		}
	}
}

// TestRefusalsDoNotSayWhy: all credentials that are refused get one answer.
func TestRefusalsDoNotSayWhy(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{sso()}})
	said := map[string]bool{}
	for _, token := range []string{
		"guess", "k-old", raw(t, hs256(), changed("exp", 1), []byte(secret+"2")), raw(t, hs256(), goodClaims(), []byte("x")), raw(t, hs256(), changed("iss", "x"), []byte("x")),
	} {
		_, p := i.Identify(request(bearerOf(token)))
		said[p.Message] = true
	}
	if len(said) != 1 {
		t.Errorf("%d answers: %v", len(said), said)
	}
}
