package identity

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestValidation(t *testing.T) {
	jwks := Issuer{Name: "sso", JWKSURL: "https://sso/certs", Issuer: "https://sso"}
	with := func(j Issuer, change func(*Issuer)) Config {
		change(&j)
		return Config{JWT: []Issuer{openWebUI(), j}}
	}
	keys := func(change func([]Key)) Config {
		k := someKeys()
		change(k)
		return Config{APIKeys: k}
	}
	tests := []struct {
		name string
		cfg  Config
		want []string // beginnings of the errors
	}{
		{"nothing", Config{}, nil},
		{"all of it", Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI(), jwks}}, nil},
		{"link_by", Config{LinkBy: "mail"}, []string{`identity.link_by: "mail" is none of email, none`}},
		{"anonymous", Config{Anonymous: "no"}, []string{`identity.anonymous: "no" is none of allow, deny`}},
		{"header", Config{Forwarded: Forwarded{GroupIDs: "X Groups"}}, []string{`identity.forwarded.group_ids: "X Groups" cannot be`}},
		{"no name", with(jwks, func(j *Issuer) { j.Name = "" }), []string{`identity.jwt[1].name: "" is empty or taken`}},
		{"the same name", with(jwks, func(j *Issuer) { j.Name = "openwebui" }), []string{`identity.jwt[1].name: "openwebui" is empty or taken`}},
		{"header of an issuer", with(jwks, func(j *Issuer) { j.Header = "a:b" }), []string{`identity.jwt[1].header: "a:b" cannot be`}},
		{"nothing to verify with", with(jwks, func(j *Issuer) { j.JWKSURL = "" }), []string{"identity.jwt[1].secret: is empty, and there is no jwks_url"}},
		{"both", with(jwks, func(j *Issuer) { j.Secret = "x"; j.Algorithms = []string{"HS256"} }), []string{"identity.jwt[1].secret: is set beside jwks_url"}},
		{"no URL", with(jwks, func(j *Issuer) { j.JWKSURL = "sso/certs" }), []string{`identity.jwt[1].jwks_url: "sso/certs" is no URL`}},
		{"a file", with(jwks, func(j *Issuer) { j.JWKSURL = "file:///etc/passwd" }), []string{"identity.jwt[1].jwks_url: "}},
		{"no iss", with(jwks, func(j *Issuer) { j.Issuer = "" }), []string{"identity.jwt[1].issuer: is empty"}},
		{"confused", with(jwks, func(j *Issuer) { j.Algorithms = []string{"RS256", "HS256"} }), []string{`identity.jwt[1].algorithms: "HS256" does not go with a jwks_url`}},
		{"confused the other way", with(openWebUI(), func(j *Issuer) { j.Name = "x"; j.Algorithms = []string{"RS256"} }), []string{`identity.jwt[1].algorithms: "RS256" does not go with a secret`}},
		{"none", with(jwks, func(j *Issuer) { j.Algorithms = []string{"none"} }), []string{`identity.jwt[1].algorithms: "none" does not go`}},
		{"leeway", with(jwks, func(j *Issuer) { j.Leeway = -1 }), []string{"identity.jwt[1].leeway: -1ns is negative"}},
		{"id of a key", keys(func(k []Key) { k[1].ID = "a b" }), []string{`identity.api_keys[1].id: "a b" has to be`}},
		{"the same id", keys(func(k []Key) { k[1].ID = k[0].ID }), []string{`identity.api_keys[1].id: "openwebui" is there twice`}},
		{"a key in the clear", keys(func(k []Key) { k[1].SHA256 = "sk-123" }), []string{"identity.api_keys[1].sha256: is no SHA-256 in hex"}},
		{"the same key", keys(func(k []Key) { k[1].SHA256 = strings.ToUpper(k[0].SHA256) }), []string{`identity.api_keys[1].sha256: the key "openwebui" has the same`}},
		{"a forwarder that is a person", keys(func(k []Key) { k[0].User = "x" }), []string{"identity.api_keys[0].forwarder: a forwarder is no person"}},
		{"email of a key", keys(func(k []Key) { k[1].Email = "anna" }), []string{`identity.api_keys[1].email: "anna" is no email`}},
		{"all at once", Config{LinkBy: "x", Anonymous: "y"}, []string{"identity.link_by: ", "identity.anonymous: "}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(tt.cfg, Deps{})
			var got []string
			if err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			for i := range got {
				if i < len(tt.want) && strings.HasPrefix(got[i], tt.want[i]) {
					got[i] = tt.want[i]
				}
				if strings.Contains(got[i], "sk-123") {
					t.Errorf("%q tells a key", got[i])
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMint(t *testing.T) {
	for _, tt := range []struct {
		secret string
		token  Token
	}{{"", Token{Lifetime: time.Hour}}, {secret, Token{}}, {secret, Token{Lifetime: -1}}} {
		if token, err := Mint(tt.secret, tt.token, time.Now()); err == nil {
			t.Errorf("%+v: %s", tt, token)
		}
	}
	i := mustNew(t, Config{JWT: []Issuer{{Name: "test", Secret: secret, Issuer: "me", Audience: "fairlane", EmailClaim: "email", RolesClaim: "roles", GroupsClaim: "groups"}}})
	token := mint(t, secret, Token{Issuer: "me", Audience: "fairlane", Subject: "u", Email: "a@b.c", Name: "A", Roles: []string{"vip", "user"}, Groups: []string{"R&D"}})
	runCases(t, i, []identifyCase{{"back again", headers{"Authorization": "Bearer " + token}, &Identity{
		UserKey: "user:a@b.c", ID: "u", Name: "A", Email: "a@b.c", Roles: []string{"vip", "user"}, Groups: []string{"R&D"}, Issuer: "test", AuthType: AuthJWT, Verified: true,
	}, ""}})
}

func ExampleMint() {
	const secret = "thirty-two bytes or more, please"
	token, err := Mint(secret, Token{Issuer: "dev", Subject: "anna", Roles: []string{"vip"}, Lifetime: time.Hour}, time.Now())
	if err != nil {
		fmt.Println(err)
		return
	}
	i, err := New(Config{JWT: []Issuer{{Name: "dev", Secret: secret, Issuer: "dev", RolesClaim: "roles"}}}, Deps{})
	if err != nil {
		fmt.Println(err)
		return
	}
	id, problem := i.Identify(request(headers{"Authorization": "Bearer " + token}))
	fmt.Println(id.UserKey, id.Roles, problem)
	// Output: user:anna [vip] <nil>
}

func ExampleIdentifier_Identify_openMode() {
	i, err := New(Config{}, Deps{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("open mode:", i.OpenMode())
	for _, h := range []headers{
		{"Authorization": "Bearer sk-ignored"},
		{"Authorization": "Bearer sk-ignored", "X-OpenWebUI-User-Id": "u-1", "X-OpenWebUI-User-Email": "Anna@example.com", "X-User-Groups": "vip"},
	} {
		id, problem := i.Identify(request(h))
		fmt.Println(id.UserKey, id.Groups, "verified:", id.Verified, problem)
	}
	// Output:
	// open mode: true
	// ip:192.0.2.7 [] verified: false <nil>
	// user:anna@example.com [vip] verified: false <nil>
}
