package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// sign is an HS256 token of these claims, good for five minutes unless they say
// otherwise.
func sign(tb testing.TB, key string, c map[string]any) string {
	tb.Helper()
	return signWith(tb, jwt.SigningMethodHS256, []byte(key), c, nil)
}

func signWith(tb testing.TB, method jwt.SigningMethod, key any, c, header map[string]any) string {
	tb.Helper()
	all := jwt.MapClaims{"exp": time.Now().Add(5 * time.Minute).Unix()}
	maps.Copy(all, c)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	token := jwt.NewWithClaims(method, all)
	maps.Copy(token.Header, header)
	s, err := token.SignedString(key)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func TestTokens(t *testing.T) {
	i := mustNew(t, Config{JWT: []Issuer{sso(), {Name: "other", Secret: "another secret, thirty-two bytes.", Issuer: "https://other", Algorithms: []string{"HS512"}}}})
	good := map[string]any{"iss": "https://sso", "aud": "fairlane", "preferred_username": "anna"}
	with := func(more map[string]any) string {
		c := maps.Clone(good)
		maps.Copy(c, more)
		return sign(t, secret+"2", c)
	}
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	anna := func(change func(*Identity)) *Identity {
		id := &Identity{UserKey: "user:anna", ID: "anna", Name: "anna", Issuer: "sso", AuthType: AuthJWT, Verified: true}
		if change != nil {
			change(id)
		}
		return id
	}
	linked := func(id *Identity) {
		id.UserKey, id.Email, id.Name = "user:anna@example.com", "anna@example.com", "anna@example.com"
	}
	bearer := func(token string) headers { return headers{"Authorization": "Bearer " + token} }
	runCases(t, i, []identifyCase{
		{"good", bearer(with(nil)), anna(nil), ""},
		{"x-api-key", headers{"x-api-key": with(nil)}, anna(nil), ""},
		{"forwarded headers beside it are not read", person(bearer(with(nil))), anna(nil), ""},
		{"roles and groups", bearer(ssoToken(t)), anna(func(id *Identity) {
			linked(id)
			id.Name, id.Roles, id.Groups = "Anna", []string{"vip", "user"}, []string{"lab", "team", "lab team"}
		}), ""},
		{"an email that nobody vouches for", bearer(with(map[string]any{"email": "anna@example.com"})), anna(nil), ""},
		{"an email that the issuer verified", bearer(with(map[string]any{"email": "anna@example.com", "email_verified": true})), anna(linked), ""},
		{"the same, as a string", bearer(with(map[string]any{"email": "anna@example.com", "email_verified": "true"})), anna(linked), ""},
		{"an email that it did not", bearer(with(map[string]any{"email": "anna@example.com", "email_verified": false})), anna(nil), ""},
		{
			"an id that is an unverified email is not its owner",
			bearer(with(map[string]any{"preferred_username": "boss@example.com", "email": "boss@example.com", "email_verified": false})),
			anna(func(id *Identity) {
				id.UserKey, id.ID, id.Name = "user:sso/boss@example.com", "sso/boss@example.com", "sso/boss@example.com"
			}),
			"",
		},
		{"nor is one of which the issuer says nothing", bearer(with(map[string]any{"preferred_username": "Boss@Example.com"})), anna(func(id *Identity) {
			id.UserKey, id.ID, id.Name = "user:sso/boss@example.com", "sso/Boss@Example.com", "sso/Boss@Example.com"
		}), ""},
		{
			"nor one beside another email that was verified",
			bearer(with(map[string]any{"preferred_username": "boss@example.com", "email": "anna@example.com", "email_verified": true})),
			anna(func(id *Identity) { linked(id); id.ID = "sso/boss@example.com" }),
			"",
		},
		{
			"an id that is the verified email, in capitals",
			bearer(with(map[string]any{"preferred_username": "Anna@Example.com", "email": "anna@example.com", "email_verified": true})),
			anna(func(id *Identity) { linked(id); id.ID = "Anna@Example.com" }),
			"",
		},
		{"a number for an id", bearer(with(map[string]any{"preferred_username": 12345678901})), anna(func(id *Identity) { id.UserKey, id.ID, id.Name = "user:12345678901", "12345678901", "12345678901" }), ""},
		{"late, within the leeway", bearer(with(map[string]any{"exp": ago(10 * time.Second)})), anna(nil), ""},
		{"expired", bearer(with(map[string]any{"exp": ago(time.Minute)})), nil, ReasonExpiredToken},
		{"never expires", bearer(with(map[string]any{"exp": nil})), nil, ReasonIncomplete},
		{"exp is a word", bearer(with(map[string]any{"exp": "soon"})), nil, ReasonMalformed},
		{"not yet", bearer(with(map[string]any{"nbf": ago(-time.Minute)})), nil, ReasonNotYetValid},
		{"another issuer", bearer(with(map[string]any{"iss": "https://evil"})), nil, ReasonWrongIssuer},
		{"no issuer", bearer(with(map[string]any{"iss": nil})), nil, ReasonWrongIssuer},
		{"for somebody else", bearer(with(map[string]any{"aud": "other"})), nil, ReasonWrongAudience},
		{"for nobody", bearer(with(map[string]any{"aud": nil})), nil, ReasonIncomplete},
		{"of nobody", bearer(with(map[string]any{"preferred_username": nil})), nil, ReasonNoUser},
		{"of an object", bearer(with(map[string]any{"preferred_username": map[string]any{}})), nil, ReasonNoUser},
		{"another secret", bearer(sign(t, secret, good)), nil, ReasonSignature},
		{"the other issuer's secret", bearer(signWith(t, jwt.SigningMethodHS512, []byte("another secret, thirty-two bytes."), good, nil)), nil, ReasonAlgorithm},
		{"no algorithm", bearer(signWith(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good, nil)), nil, ReasonAlgorithm},
		{"not the issuer's algorithm", bearer(signWith(t, jwt.SigningMethodHS384, []byte(secret+"2"), good, nil)), nil, ReasonAlgorithm},
		{"critical extensions", bearer(signWith(t, jwt.SigningMethodHS256, []byte(secret+"2"), good, map[string]any{"crit": []string{"b64"}, "b64": false})), nil, ReasonMalformed},
		{"an unknown algorithm", bearer("eyJhbGciOiJYWSJ9.e30.eA"), nil, ReasonMalformed},
		{"garbage", bearer("..."), nil, ReasonUnknownKey},
		{"more garbage", bearer("a.b.c"), nil, ReasonMalformed},
	})
}

func TestASingleIssuer(t *testing.T) {
	runCases(t, mustNew(t, Config{JWT: []Issuer{sso()}}), []identifyCase{
		{"another issuer, the same secret", headers{"Authorization": "Bearer " + sign(t, secret+"2", map[string]any{"iss": "https://evil", "aud": "fairlane", "preferred_username": "x"})}, nil, ReasonWrongIssuer},
		{"another issuer and secret", headers{"Authorization": "Bearer " + sign(t, "x", map[string]any{"iss": "https://evil", "aud": "fairlane", "preferred_username": "x"})}, nil, ReasonWrongIssuer},
		{"no issuer", headers{"Authorization": "Bearer " + sign(t, secret+"2", map[string]any{"aud": "fairlane", "preferred_username": "x"})}, nil, ReasonWrongIssuer},
		{"garbage", headers{"Authorization": "Bearer a.b.c"}, nil, ReasonMalformed},
		{"its own", headers{"Authorization": "Bearer " + sign(t, secret+"2", map[string]any{"iss": "https://sso", "aud": "fairlane", "preferred_username": "x"})}, &Identity{UserKey: "user:x", ID: "x", Name: "x", Issuer: "sso", AuthType: AuthJWT, Verified: true}, ""},
	})
}

func TestAConfiguredEmailClaim(t *testing.T) {
	for name, tt := range map[string]struct {
		verified any
		want     string
	}{
		"nothing said": {nil, "user:anna@example.com"}, "verified": {true, "user:anna@example.com"},
		"not verified": {false, "user:u-1"}, "not verified, as a string": {"false", "user:u-1"},
	} {
		token := sign(t, secret, map[string]any{"iss": "open-webui", "sub": "u-1", "email": "anna@example.com", "email_verified": tt.verified})
		id, problem := mustNew(t, Config{JWT: []Issuer{openWebUI()}}).Identify(request(headers{signedH: token}))
		if problem != nil || id.UserKey != tt.want {
			t.Errorf("%s: %s %v, want %s", name, id.UserKey, problem, tt.want)
		}
	}
}

// TestPublicKeyIsNoSecret signs with the issuer's public key as an HMAC secret,
// which a verifier that does not pin algorithms would accept.
// An issuer that is configured to put emails into the ids may do so.
func TestAnIDThatIsConfiguredToBeAnEmail(t *testing.T) {
	j := openWebUI()
	j.EmailClaim = "sub"
	i := mustNew(t, Config{JWT: []Issuer{j}})
	for said, want := range map[any]string{nil: "user:anna@example.com", true: "user:anna@example.com", false: "user:openwebui/anna@example.com"} {
		id, problem := i.Identify(request(headers{signedH: sign(t, secret, map[string]any{"iss": "open-webui", "sub": "Anna@example.com", "email_verified": said})}))
		if problem != nil || id.UserKey != want {
			t.Errorf("verified %v: %+v %v", said, id, problem)
		}
	}
}

func TestPublicKeyIsNoSecret(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	set := jwksOf(t, map[string]any{"k": &key.PublicKey})
	public, err := parseJWKS(set)
	if err != nil {
		t.Fatal(err)
	}
	s := newIssuer(&Issuer{Name: "sso", JWKSURL: "http://x", Issuer: "i", Algorithms: []string{"RS256", "ES256", "EdDSA"}, UserClaim: "sub"}, Deps{})
	s.keys.state.Store(&snapshot{keys: public, nth: 1})
	claims := map[string]any{"iss": "i", "sub": "x"}
	if _, err := s.verify(t.Context(), signWith(t, jwt.SigningMethodES256, key, claims, map[string]any{"kid": "k"})); err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), set, key.X.Bytes()} {
		for _, header := range []map[string]any{nil, {"kid": "k"}} {
			if _, err := s.verify(t.Context(), signWith(t, jwt.SigningMethodHS256, secret, claims, header)); err == nil {
				t.Errorf("an HMAC with the public key passed, header %v", header)
			}
		}
	}
	if _, err := s.verify(t.Context(), signWith(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims, nil)); err == nil {
		t.Error("alg none passed")
	}
}

func TestClaimPaths(t *testing.T) {
	c := claims{}
	if err := json.Unmarshal([]byte(`{
		"role": "admin", "roles": ["a", "", 1, null, "b c"], "scope": "x  y", "n": {"m": {"l": ["deep"]}}, "https://example.com/roles": ["url"],
		"resource_access": {"my.client": {"roles": ["dotted"]}}, "empty": "", "object": {"a": 1}, "null": null}`), &c); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]string{
		"role": {"admin"}, "roles": {"a", "b c"}, "scope": {"x", "y", "x  y"}, "n.m.l": {"deep"}, "https://example.com/roles": {"url"},
		"resource_access.my.client.roles": {"dotted"}, "empty": nil, "object": nil, "null": nil, "": nil, "n.m": nil, "n.m.l.k": nil, ".": nil, "..": nil, "role.x": nil,
	} {
		if diff := cmp.Diff(want, c.list(path)); diff != "" {
			t.Errorf("%q: %s", path, diff)
		}
	}
}

func FuzzClaims(f *testing.F) {
	f.Add(`{"a":{"b":["x"]}}`, "a.b")
	f.Add(`{"a.b":"x y","email":"A@b.c","email_verified":"true","sub":1e99}`, "a.b")
	f.Add(`{"":{"":{"":[]}}}`, "..")
	f.Fuzz(func(t *testing.T, body, path string) {
		c := claims{}
		if json.Unmarshal([]byte(body), &c) != nil {
			return
		}
		list := c.list(path)
		if len(list) > maxList {
			t.Errorf("%d values", len(list))
		}
		for _, s := range list {
			wellFormed(t, s, maxGroup)
		}
		j := Issuer{EmailClaim: path}
		if mail := j.email(c); mail != "" {
			wellFormed(t, mail, maxEmail)
		}
		wellFormed(t, clean(c.text(path), maxID), maxID)
	})
}
