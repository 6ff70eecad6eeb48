package identity

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"fairlane/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secret  = "a secret that is long enough for HS256"
	signedH = "X-Openwebui-User-Jwt"
)

func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

func someKeys() []Key {
	return []Key{
		{ID: "openwebui", SHA256: digest("k-owui"), Forwarder: true, Roles: []string{"ui"}, Groups: []string{"tools"}},
		{ID: "ci", SHA256: digest("k-ci"), User: "CI-bot@example.com", Roles: []string{"bot"}, Groups: []string{"robots"}},
		{ID: "plain", SHA256: digest("k-plain")},
		{ID: "named", SHA256: digest("k-named"), User: "u-9", Email: "Anna@Example.com", Name: "Anna B."},
		{ID: "mail", SHA256: digest("k-mail"), Email: "anna@example.com"},
		{ID: "old", SHA256: digest("k-old"), User: "x", Expires: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)},
		{ID: "young", SHA256: digest("k-young"), User: "x", Expires: time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)},
	}
}

func openWebUI() Issuer {
	return Issuer{Name: "openwebui", Header: "X-OpenWebUI-User-Jwt", Algorithms: []string{"HS256"}, Secret: secret, Issuer: "open-webui", EmailClaim: "email", RolesClaim: "role"}
}

func sso() Issuer {
	return Issuer{
		Name: "sso", Secret: secret + "2", Issuer: "https://sso", Audience: "fairlane", UserClaim: "preferred_username",
		RolesClaim: "realm_access.roles", GroupsClaim: "groups",
	}
}

func mustNew(tb testing.TB, cfg Config) *Identifier {
	tb.Helper()
	i, err := New(cfg, Deps{})
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

func mint(tb testing.TB, key string, t Token) string {
	tb.Helper()
	if t.Lifetime == 0 {
		t.Lifetime = 5 * time.Minute
	}
	token, err := Mint(key, t, time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

func signed(tb testing.TB) string {
	tb.Helper()
	return mint(tb, secret, Token{Issuer: "open-webui", Subject: "u-1", Email: "Anna@example.com", Name: "Anna", Role: "admin"})
}

type headers map[string]string

func request(h headers) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil)
	r.RemoteAddr = "192.0.2.7:4711"
	for name, value := range h {
		r.Header.Set(name, value)
	}
	return r
}

// person are the plain headers as Open WebUI sends them.
func person(more headers) headers {
	h := headers{
		"X-OpenWebUI-User-Id": "u-1", "X-OpenWebUI-User-Email": "Anna@example.com", "X-OpenWebUI-User-Name": "Anna%20B%C3%A4r", "X-OpenWebUI-User-Role": "user",
		"X-OpenWebUI-Chat-Id": "c-1", "X-OpenWebUI-Auth-Type": "jwt", "X-User-Groups": "vip, gold,R&D,%C3%96l", "X-User-Group-Ids": "11-22,33-44",
		"X-Task": "title_generation", "X-Message-Id": "m-1",
	}
	maps.Copy(h, more)
	return h
}

func annasGroups() []string {
	return []string{"vip", "gold", "R&D", "Öl", "vip, gold,R&D,Öl", "11-22", "33-44"}
}

// forwardedAnna is who person says.
func forwardedAnna(change func(*Identity)) *Identity {
	id := &Identity{
		UserKey: "user:anna@example.com", ID: "u-1", Name: "Anna Bär", Email: "anna@example.com", Roles: []string{"user"}, Groups: annasGroups(),
		KeyID: "openwebui", AuthType: AuthJWT, Verified: true, Forwarder: true, Task: "title_generation", TaskTold: true, MessageID: "m-1", ChatID: "c-1",
	}
	if change != nil {
		change(id)
	}
	return id
}

type identifyCase struct {
	name   string
	h      headers
	want   *Identity // without address
	reason Reason    // of a 401
}

func runCases(t *testing.T, i *Identifier, cases []identifyCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			got, problem := i.Identify(request(tt.h))
			if tt.reason != "" {
				if problem == nil {
					t.Fatalf("let in as %+v", got)
				}
				if diff := cmp.Diff(&Identity{Addr: netip.MustParseAddr("192.0.2.7"), IP: "192.0.2.7"}, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
					t.Errorf("a problem comes with more than an address: %s", diff)
				}
				if problem.Code != scheduler.CodeInvalidAPIKey || problem.Code.Status() != http.StatusUnauthorized || problem.Reason != tt.reason || problem.Message == "" {
					t.Errorf("%+v, want a 401 of reason %s", problem, tt.reason)
				}
				return
			}
			if problem != nil {
				t.Fatal(problem)
			}
			if got.IP != "192.0.2.7" || got.Addr != netip.MustParseAddr("192.0.2.7") {
				t.Errorf("address %s %s", got.IP, got.Addr)
			}
			got.IP, got.Addr = "", netip.Addr{}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func anonymous() *Identity {
	return &Identity{UserKey: "ip:192.0.2.7", Name: "192.0.2.7", AuthType: AuthAnonymous, Anonymous: true}
}

func TestKeys(t *testing.T) {
	ci := &Identity{UserKey: "user:ci-bot@example.com", ID: "CI-bot@example.com", Name: "ci-bot@example.com", Email: "ci-bot@example.com", Roles: []string{"bot"}, Groups: []string{"robots"}, KeyID: "ci", AuthType: AuthAPIKey, Verified: true}
	runCases(t, mustNew(t, Config{APIKeys: someKeys()}), []identifyCase{
		{"none", nil, anonymous(), ""},
		{"a key", headers{"Authorization": "Bearer k-ci"}, ci, ""},
		{"any case of the scheme", headers{"Authorization": "bEARER k-ci"}, ci, ""},
		{"blanks", headers{"Authorization": " Bearer   k-ci "}, ci, ""},
		{"as Anthropic's clients send it", headers{"x-api-key": "k-ci"}, ci, ""},
		{"both: the bearer counts", headers{"x-api-key": "nonsense", "Authorization": "Bearer k-ci"}, ci, ""},
		{"a bad bearer beside a good key", headers{"x-api-key": "k-ci", "Authorization": "Bearer nonsense"}, nil, ReasonUnknownKey},
		{"a key of nobody in particular", headers{"Authorization": "Bearer k-plain"}, &Identity{UserKey: "key:plain", Name: "plain", KeyID: "plain", AuthType: AuthAPIKey, Verified: true}, ""},
		{"a key with an email", headers{"Authorization": "Bearer k-named"}, &Identity{UserKey: "user:anna@example.com", ID: "u-9", Name: "Anna B.", Email: "anna@example.com", KeyID: "named", AuthType: AuthAPIKey, Verified: true}, ""},
		{"a key with nothing but an email", headers{"Authorization": "Bearer k-mail"}, &Identity{UserKey: "user:anna@example.com", ID: "anna@example.com", Name: "anna@example.com", Email: "anna@example.com", KeyID: "mail", AuthType: AuthAPIKey, Verified: true}, ""},
		{"expired", headers{"Authorization": "Bearer k-old"}, nil, ReasonExpiredKey},
		{"not yet expired", headers{"Authorization": "Bearer k-young"}, &Identity{UserKey: "user:x", ID: "x", Name: "x", KeyID: "young", AuthType: AuthAPIKey, Verified: true}, ""},
		{"unknown is never anonymous", headers{"Authorization": "Bearer nonsense"}, nil, ReasonUnknownKey},
		{"unknown x-api-key", headers{"x-api-key": "nonsense"}, nil, ReasonUnknownKey},
		{"empty", headers{"Authorization": "Bearer "}, nil, ReasonMalformed},
		{"a token where no issuer is", headers{"Authorization": "Bearer a.b.c"}, nil, ReasonUnknownKey},
		{"another scheme", headers{"Authorization": "Basic k-ci"}, nil, ReasonScheme},
		{"no scheme", headers{"Authorization": "k-ci"}, nil, ReasonScheme},
		{"the digest is not the key", headers{"Authorization": "Bearer " + digest("k-ci")}, nil, ReasonUnknownKey},
		{"very long", headers{"Authorization": "Bearer " + strings.Repeat("x", maxCredential+1)}, nil, ReasonMalformed},
		{"forwarded headers from a key that is no forwarder", person(headers{"Authorization": "Bearer k-ci"}), ci, ""},
		{"forwarded headers without a key", person(nil), anonymous(), ""},
	})
}

func TestForwarder(t *testing.T) {
	nobody := func(change func(*Identity)) *Identity {
		id := &Identity{UserKey: "key:openwebui", Name: "openwebui", KeyID: "openwebui", Roles: []string{"ui"}, Groups: []string{"tools"}, AuthType: AuthForwarded, Verified: true, Forwarder: true, Nobody: true}
		if change != nil {
			change(id)
		}
		return id
	}
	with := func(h headers) headers { return person(headers{"Authorization": "Bearer k-owui"}).with(h) }
	runCases(t, mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI()}}), []identifyCase{
		{"everything", with(nil), forwardedAnna(nil), ""},
		{"no identity", headers{"Authorization": "Bearer k-owui"}, nobody(nil), ""},
		{
			"a task without identity",
			headers{"Authorization": "Bearer k-owui", "X-Task": "title_generation"},
			nobody(func(id *Identity) { id.Task, id.TaskTold = "title_generation", true }),
			"",
		},
		{"the key's own roles are not the person's", with(headers{"X-OpenWebUI-User-Role": ""}), forwardedAnna(func(id *Identity) { id.Roles = nil }), ""},
		{"no email", with(headers{"X-OpenWebUI-User-Email": ""}), forwardedAnna(func(id *Identity) { id.UserKey, id.Email = "user:u-1", "" }), ""},
		{"no id", with(headers{"X-OpenWebUI-User-Id": ""}), forwardedAnna(func(id *Identity) { id.ID = "anna@example.com" }), ""},
		{"no email that deserves the name", with(headers{"X-OpenWebUI-User-Email": "anna"}), forwardedAnna(func(id *Identity) { id.UserKey, id.Email = "user:u-1", "" }), ""},
		{"a script", with(headers{"X-OpenWebUI-Auth-Type": "api_key"}), forwardedAnna(func(id *Identity) { id.AuthType = AuthAPIKey }), ""},
		{"an auth type of its own", with(headers{"X-OpenWebUI-Auth-Type": "none"}), forwardedAnna(func(id *Identity) { id.AuthType = AuthForwarded }), ""},
		{"interactive", with(headers{"X-Task": ""}), forwardedAnna(func(id *Identity) { id.Task = "" }), ""},
		{"one group", with(headers{"X-User-Groups": "vip", "X-User-Group-Ids": ""}), forwardedAnna(func(id *Identity) { id.Groups = []string{"vip"} }), ""},
		{"no groups", with(headers{"X-User-Groups": "", "X-User-Group-Ids": ""}), forwardedAnna(func(id *Identity) { id.Groups = nil }), ""},
		{"empty groups", with(headers{"X-User-Groups": " ,,", "X-User-Group-Ids": ","}), forwardedAnna(func(id *Identity) { id.Groups = []string{",,"} }), ""},
		{
			"templates that were not filled",
			with(headers{"X-User-Groups": "{{USER_GROUPS}}", "X-User-Group-Ids": "{{USER_GROUP_IDS}}", "X-Task": "{{TASK}}", "X-Message-Id": "{{MESSAGE_ID}}"}),
			forwardedAnna(func(id *Identity) { id.Groups, id.Task, id.TaskTold, id.MessageID = nil, "", false, "" }),
			"",
		},
		{"a name that is not quoted well", with(headers{"X-OpenWebUI-User-Name": "100% Anna"}), forwardedAnna(func(id *Identity) { id.Name = "100% Anna" }), ""},
		{"control characters in a name", with(headers{"X-OpenWebUI-User-Name": "An%0Ana%1B%5B31m%E2%80%AE"}), forwardedAnna(func(id *Identity) { id.Name = "Anna[31m" }), ""},
		{"no name", with(headers{"X-OpenWebUI-User-Name": ""}), forwardedAnna(func(id *Identity) { id.Name = "anna@example.com" }), ""},
		{"a strange task", with(headers{"X-Task": "rm -rf"}), forwardedAnna(func(id *Identity) { id.Task = "" }), ""},
		{"a bad key", person(headers{"Authorization": "Bearer nonsense"}), nil, ReasonUnknownKey},
		{"plain headers, for minting can fail", with(nil), forwardedAnna(nil), ""},
	})
}

func (h headers) with(more headers) headers {
	h = maps.Clone(h)
	maps.Copy(h, more)
	return h
}

func TestSignedHeader(t *testing.T) {
	good := signed(t)
	verified := func(change func(*Identity)) *Identity {
		id := &Identity{UserKey: "user:anna@example.com", ID: "u-1", Name: "Anna", Email: "anna@example.com", Roles: []string{"admin"}, Issuer: "openwebui", AuthType: AuthJWT, Verified: true}
		if change != nil {
			change(id)
		}
		return id
	}
	forwarder := func(id *Identity) {
		id.KeyID, id.Forwarder, id.Groups, id.Task, id.TaskTold, id.MessageID, id.ChatID = "openwebui", true, annasGroups(), "title_generation", true, "m-1", "c-1"
	}
	t.Run("with keys", func(t *testing.T) {
		runCases(t, mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI(), sso()}}), []identifyCase{
			{"without a key", headers{signedH: good}, nil, ReasonNoKeyBeside},
			{"with a bad key", headers{signedH: good, "Authorization": "Bearer nonsense"}, nil, ReasonNoKeyBeside},
			{"with an expired key", headers{signedH: good, "Authorization": "Bearer k-old"}, nil, ReasonExpiredKey},
			{"with a token for a key", headers{signedH: good, "Authorization": "Bearer " + ssoToken(t)}, nil, ReasonNoKeyBeside},
			{"bad, with a good key", headers{signedH: good + "x", "Authorization": "Bearer k-owui"}, nil, ReasonSignature},
			{"empty, with a good key", headers{signedH: "", "Authorization": "Bearer k-owui"}, nil, ReasonMalformed},
			{"with a forwarder's key", person(headers{signedH: good, "Authorization": "Bearer k-owui"}), verified(forwarder), ""},
			{"with a forwarder's x-api-key", person(headers{signedH: good, "x-api-key": "k-owui"}), verified(forwarder), ""},
			{"the signature knows better than the plain headers", person(headers{signedH: good, "Authorization": "Bearer k-owui", "X-OpenWebUI-User-Email": "boss@example.com"}), verified(forwarder), ""},
			{"with a key that is no forwarder's", person(headers{signedH: good, "Authorization": "Bearer k-ci"}), verified(func(id *Identity) { id.KeyID = "ci" }), ""},
		})
	})
	t.Run("without keys", func(t *testing.T) {
		runCases(t, mustNew(t, Config{JWT: []Issuer{openWebUI()}}), []identifyCase{
			{"alone", headers{signedH: good}, verified(nil), ""},
			{"the bearer beside it is ignored", headers{signedH: good, "Authorization": "Bearer sk-anything"}, verified(nil), ""},
			{"groups and tasks are not believed", person(headers{signedH: good}), verified(nil), ""},
			{"plain headers are not believed", person(nil), anonymous(), ""},
			{"bad", headers{signedH: "a.b.c"}, nil, ReasonMalformed},
			{"a bearer alone", headers{"Authorization": "Bearer sk-anything"}, nil, ReasonUnknownKey},
			{"a bearer alone that is a signed identity", headers{"Authorization": "Bearer " + good}, nil, ReasonUnknownKey},
		})
	})
}

func ssoToken(tb testing.TB) string {
	tb.Helper()
	return sign(tb, secret+"2", map[string]any{
		"iss": "https://sso", "aud": []string{"other", "fairlane"}, "preferred_username": "anna", "email": "Anna@example.com", "email_verified": true,
		"name": "Anna", "realm_access": map[string]any{"roles": []any{"vip", 7, "user"}}, "groups": "lab team",
	})
}

func TestOnePersonWhicheverWay(t *testing.T) {
	cfg := Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI(), sso()}}
	ways := map[string]headers{
		"key":       {"Authorization": "Bearer k-named"},
		"signed":    {signedH: signed(t), "Authorization": "Bearer k-owui"},
		"forwarded": {"Authorization": "Bearer k-owui", "X-OpenWebUI-User-Id": "u-7", "X-OpenWebUI-User-Email": "ANNA@example.com"},
		"token":     {"Authorization": "Bearer " + ssoToken(t)},
	}
	for _, link := range []string{LinkEmail, LinkNone} {
		cfg.LinkBy = link
		i := mustNew(t, cfg)
		got := map[string]string{}
		for way, h := range ways {
			id, problem := i.Identify(request(h))
			if problem != nil {
				t.Fatal(way, problem)
			}
			got[way] = id.UserKey
		}
		want := map[string]string{"key": "user:anna@example.com", "signed": "user:anna@example.com", "forwarded": "user:anna@example.com", "token": "user:anna@example.com"}
		if link == LinkNone {
			want = map[string]string{"key": "user:key/u-9", "signed": "user:openwebui/u-1", "forwarded": "user:forwarded/u-7", "token": "user:sso/anna"}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("link_by %s: %s", link, diff)
		}
	}
}

func TestOpenMode(t *testing.T) {
	i := mustNew(t, Config{})
	if !i.OpenMode() {
		t.Fatal("not open")
	}
	byHeaders := forwardedAnna(func(id *Identity) { id.KeyID, id.Verified = "", false })
	forged := mint(t, "whatever", Token{Issuer: "me", Subject: "u-2", Email: "bob@example.com", Name: "Bob", Role: "user", Lifetime: time.Nanosecond})
	bob := &Identity{UserKey: "user:bob@example.com", ID: "u-2", Name: "Bob", Email: "bob@example.com", Roles: []string{"user"}, AuthType: AuthForwarded, Forwarder: true}
	runCases(t, i, []identifyCase{
		{"nothing", nil, anonymous(), ""},
		{"a bearer is ignored", headers{"Authorization": "Bearer sk-anything"}, anonymous(), ""},
		{"a basic one, too", headers{"Authorization": "Basic Zm9v"}, anonymous(), ""},
		{"headers on trust", person(headers{"Authorization": "Bearer sk-anything"}), byHeaders, ""},
		{"claims on trust", headers{signedH: forged}, bob, ""},
		{"claims before headers", person(headers{signedH: forged}), &Identity{
			UserKey: "user:bob@example.com", ID: "u-2", Name: "Bob", Email: "bob@example.com", Roles: []string{"user"}, Groups: annasGroups(),
			AuthType: AuthJWT, Forwarder: true, Task: "title_generation", TaskTold: true, MessageID: "m-1", ChatID: "c-1",
		}, ""},
		{"garbage for claims", person(headers{signedH: "garbage"}), byHeaders, ""},
		{"an empty identity is none", headers{"X-OpenWebUI-User-Id": "", "X-Task": "", "X-User-Groups": "vip"}, anonymous(), ""},
		{"nor is a blank one", headers{"X-OpenWebUI-User-Email": " ", "X-User-Groups": "vip"}, anonymous(), ""},
		{"nor a placeholder", headers{"X-OpenWebUI-User-Email": "{{USER_EMAIL}}", "X-User-Groups": "vip"}, anonymous(), ""},
		{"nor are other headers", headers{"X-Task": "title_generation", "X-User-Groups": "vip", "X-Message-Id": "m"}, anonymous(), ""},
		{"nor does garbage for a token", headers{signedH: "garbage"}, anonymous(), ""},
		{"nor a token that names nobody", headers{signedH: mint(t, "whatever", Token{Issuer: "me", Role: "admin", Lifetime: time.Hour})}, anonymous(), ""},
		{"nor an email that is none", headers{"X-OpenWebUI-User-Email": "garbage"}, anonymous(), ""},
	})
	if err := i.SwapKeys(someKeys(), true); err == nil {
		t.Error("keys for open mode were taken, and would not be asked for")
	}
}

func TestAnonymousDenied(t *testing.T) {
	runCases(t, mustNew(t, Config{APIKeys: someKeys(), Anonymous: AnonymousDeny}), []identifyCase{
		{"nothing", nil, nil, ReasonMissing},
		{"forwarded headers alone", person(nil), nil, ReasonMissing},
		{"a forwarder's nobody has shown a key", headers{"Authorization": "Bearer k-owui"}, &Identity{
			UserKey: "key:openwebui", Name: "openwebui", KeyID: "openwebui", Roles: []string{"ui"}, Groups: []string{"tools"}, AuthType: AuthForwarded, Verified: true, Forwarder: true, Nobody: true,
		}, ""},
	})
	runCases(t, mustNew(t, Config{Anonymous: AnonymousDeny}), []identifyCase{
		{"open mode", headers{"Authorization": "Bearer sk"}, nil, ReasonMissing},
		{"open mode, an empty name", headers{"X-OpenWebUI-User-Id": ""}, nil, ReasonMissing},
		{"open mode, a task alone", headers{"X-Task": "x"}, nil, ReasonMissing},
		{"open mode, somebody", person(nil), forwardedAnna(func(id *Identity) { id.KeyID, id.Verified = "", false }), ""},
	})
}

func TestAnEmptyKeyFileIsNotOpenMode(t *testing.T) {
	i := mustNew(t, Config{KeyFile: true})
	runCases(t, i, []identifyCase{
		{"a bearer", headers{"Authorization": "Bearer k-ci"}, nil, ReasonUnknownKey},
		{"nothing is taken on trust", person(nil), anonymous(), ""},
	})
	if err := i.SwapKeys(someKeys(), true); err != nil {
		t.Fatal(err)
	}
	if _, problem := i.Identify(request(headers{"Authorization": "Bearer k-ci"})); problem != nil {
		t.Error(problem)
	}
	if err := i.SwapKeys([]Key{{ID: "bad", SHA256: "x"}}, true); err == nil {
		t.Error("a bad list was taken")
	}
	if _, problem := i.Identify(request(headers{"Authorization": "Bearer k-ci"})); problem != nil {
		t.Errorf("a bad list took the old keys away: %v", problem)
	}
}

func TestAKeyFileComesAndGoes(t *testing.T) {
	i := mustNew(t, Config{JWT: []Issuer{openWebUI()}})
	good := signed(t)
	bearer := headers{"Authorization": "Bearer k-ci"}
	asks := func(step string, h headers, want Reason) {
		t.Helper()
		var got Reason
		if _, problem := i.Identify(request(h)); problem != nil {
			got = problem.Reason
		}
		if got != want {
			t.Errorf("%s: %v is %q, want %q", step, h, got, want)
		}
	}
	asks("no file", bearer, ReasonUnknownKey)
	asks("no file", headers{signedH: good}, "")
	for range 2 {
		if err := i.SwapKeys(someKeys(), true); err != nil {
			t.Fatal(err)
		}
		asks("a file", bearer, "")
		asks("a file", headers{signedH: good}, ReasonNoKeyBeside)
		if err := i.SwapKeys(nil, true); err != nil {
			t.Fatal(err)
		}
		asks("an empty file", bearer, ReasonUnknownKey)
		asks("an empty file", headers{signedH: good}, ReasonNoKeyBeside)
		if err := i.SwapKeys(nil, false); err != nil {
			t.Fatal(err)
		}
		asks("no file any more", bearer, ReasonUnknownKey)
		asks("no file any more", headers{signedH: good}, "")
	}
}

func TestTheLastProofIsNotTakenAway(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys()})
	if err := i.SwapKeys(nil, false); err == nil {
		t.Error("without keys and issuers nothing would be verified")
	}
	if _, problem := i.Identify(request(headers{"Authorization": "Bearer k-ci"})); problem != nil {
		t.Error(problem)
	}
}

func TestRekey(t *testing.T) {
	open, file, both := Config{LinkBy: LinkNone}, Config{KeyFile: true, APIKeys: someKeys()}, Config{KeyFile: true, JWT: []Issuer{openWebUI()}}
	signer := Config{JWT: both.JWT}
	for _, tt := range []struct {
		name      string
		now, next Config
		keys      bool // asked for afterwards
		ok        bool
	}{
		{"open stays open", open, Config{}, false, true},
		{"into the open waits", file, open, true, false},
		{"out of the open waits", open, file, false, false},
		{"an issuer alone leaves the open with the restart that it needs", open, signer, false, true},
		{"the issuer that is to take over is not there yet", file, signer, true, false},
		{"keys beside an issuer", signer, both, true, true},
		{"no keys beside an issuer", both, signer, false, true},
		{"keys for keys", file, Config{KeyFile: true}, true, true},
	} {
		got, ok := tt.now.Rekey(tt.next)
		if ok != tt.ok || got.KeyFile != tt.keys || got.LinkBy != tt.now.LinkBy || len(got.JWT) != len(tt.now.JWT) {
			t.Errorf("%s: %v %+v", tt.name, ok, got)
		}
		if keys := tt.next.APIKeys; ok && len(got.APIKeys) != len(keys) {
			t.Errorf("%s: %d keys", tt.name, len(got.APIKeys))
		}
	}
}

func TestCredentialsSentTwice(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI()}})
	for _, header := range []string{authorization, keyHeader, signedH} {
		r := request(headers{"Authorization": "Bearer k-owui"})
		r.Header.Del(header)
		for _, v := range []string{"Bearer k-owui", "Bearer k-ci"} {
			r.Header.Add(header, v)
		}
		if header == keyHeader {
			r.Header.Del(authorization)
		}
		if id, problem := i.Identify(r); problem == nil || problem.Reason != ReasonMalformed {
			t.Errorf("%s twice: %+v %v", header, id, problem)
		}
	}
}

// TestIdentitySentTwice: which of two is the person's own nobody can tell.
func TestIdentitySentTwice(t *testing.T) {
	keys := Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI()}}
	twice := func(header string, h headers) *http.Request {
		r := request(person(h))
		r.Header[http.CanonicalHeaderKey(header)] = []string{"anna", "boss"}
		return r
	}
	names := []string{
		"X-OpenWebUI-User-Id", "X-OpenWebUI-User-Email", "X-OpenWebUI-User-Name", "X-OpenWebUI-User-Role", "X-User-Groups", "X-User-Group-Ids", "X-Task",
		"X-Message-Id", "X-OpenWebUI-Chat-Id", "X-OpenWebUI-Auth-Type",
	}
	for way, i := range map[string]*Identifier{"a forwarder": mustNew(t, keys), "open mode": mustNew(t, Config{}), "a signature beside a forwarder's key": mustNew(t, keys)} {
		for _, header := range names {
			h := headers{"Authorization": "Bearer k-owui"}
			if strings.HasPrefix(way, "a signature") {
				h[signedH] = signed(t)
			}
			if id, p := i.Identify(twice(header, h)); p == nil || p.Code != scheduler.CodeInvalidRequest || !strings.Contains(p.Message, http.CanonicalHeaderKey(header)) {
				t.Errorf("%s, %s twice: %+v %v", way, header, id, p)
			}
		}
	}
	if id, p := mustNew(t, Config{}).Identify(twice(signedH, nil)); p == nil || p.Code != scheduler.CodeInvalidRequest {
		t.Errorf("open mode, two tokens: %+v %v", id, p)
	}
	if id, p := mustNew(t, keys).Identify(twice("X-OpenWebUI-User-Id", headers{"Authorization": "Bearer k-ci"})); p != nil || id.UserKey != "user:ci-bot@example.com" {
		t.Errorf("a header that is not read counts: %+v %v", id, p)
	}
}

func TestClientCertificate(t *testing.T) {
	certified := func(h headers) *http.Request {
		r := request(h)
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}
		return r
	}
	i := mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI()}})
	id, problem := i.Identify(certified(person(nil)))
	if problem != nil || !id.Forwarder || !id.Verified || id.UserKey != "user:anna@example.com" || id.Task == "" {
		t.Errorf("%+v %v", id, problem)
	}
	id, problem = i.Identify(certified(nil))
	if problem != nil || !id.Nobody || id.UserKey != "key:client-certificate" {
		t.Errorf("%+v %v", id, problem)
	}
	if id, problem = i.Identify(certified(person(headers{"Authorization": "Bearer nonsense"}))); problem == nil {
		t.Errorf("a bad bearer passed behind a certificate: %+v", id)
	}
	if id, problem = i.Identify(certified(person(headers{"Authorization": "Bearer k-ci"}))); problem != nil || id.UserKey != "user:ci-bot@example.com" {
		t.Errorf("a person's key behind a certificate: %+v %v", id, problem)
	}
	if id, problem = i.Identify(certified(person(headers{signedH: signed(t)}))); problem != nil || !id.Forwarder || id.Issuer != "openwebui" || len(id.Groups) == 0 {
		t.Errorf("a signed header beside a certificate: %+v %v", id, problem)
	}
	unverified := request(person(nil))
	unverified.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	if id, problem = i.Identify(unverified); problem != nil || !id.Anonymous {
		t.Errorf("a certificate that was not verified: %+v %v", id, problem)
	}
}

func TestAddresses(t *testing.T) {
	i := mustNew(t, Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}})
	tests := []struct {
		name, remote string
		forwarded    []string
		ip, key      string
	}{
		{"IPv4", "192.0.2.7:1", nil, "192.0.2.7", "ip:192.0.2.7"},
		{"IPv6 by its /64", "[2001:db8:1:2:3:4:5:6]:1", nil, "2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"},
		{"IPv4 as IPv6", "[::ffff:192.0.2.7]:1", nil, "192.0.2.7", "ip:192.0.2.7"},
		{"a zone", "[fe80::1%eth0]:1", nil, "fe80::1", "ip:fe80::/64"},
		{"a socket", "@", nil, "unknown", "ip:unknown"},
		{"not from a trusted proxy", "192.0.2.7:1", []string{"198.51.100.1"}, "192.0.2.7", "ip:192.0.2.7"},
		{"from one", "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1", "ip:198.51.100.1"},
		{"from right to left", "10.0.0.1:1", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1", "ip:198.51.100.1"},
		{"through several", "10.0.0.1:1", []string{"203.0.113.9, 198.51.100.1, 10.0.0.3,10.0.0.2"}, "198.51.100.1", "ip:198.51.100.1"},
		{"several lines", "10.0.0.1:1", []string{"203.0.113.9", "198.51.100.1, 10.0.0.4", "10.0.0.3"}, "198.51.100.1", "ip:198.51.100.1"},
		{"all trusted", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", "ip:10.0.0.3"},
		{"with a port", "10.0.0.1:1", []string{"198.51.100.1:99"}, "198.51.100.1", "ip:198.51.100.1"},
		{"IPv6 in brackets", "[fd00::1]:1", []string{"[2001:db8::5]:99"}, "2001:db8::5", "ip:2001:db8::/64"},
		{"garbage", "10.0.0.1:1", []string{"198.51.100.1, nonsense, 10.0.0.2"}, "10.0.0.2", "ip:10.0.0.2"},
		{"empty", "10.0.0.1:1", []string{""}, "10.0.0.1", "ip:10.0.0.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := request(nil)
			r.RemoteAddr, r.Header["X-Forwarded-For"] = tt.remote, tt.forwarded
			id, problem := i.Identify(r)
			if problem != nil || id.IP != tt.ip || id.UserKey != tt.key {
				t.Errorf("%+v %v, want %s %s", id, problem, tt.ip, tt.key)
			}
		})
	}
}

func TestLongValuesStayApart(t *testing.T) {
	i := mustNew(t, Config{})
	var seen []string
	for _, id := range []string{strings.Repeat("a", 10_000), strings.Repeat("a", 10_001), strings.Repeat("ä", 10_000)} {
		got, problem := i.Identify(request(headers{"X-OpenWebUI-User-Id": id, "X-User-Groups": strings.Repeat("g,", 5000), "X-OpenWebUI-User-Name": id}))
		if problem != nil {
			t.Fatal(problem)
		}
		if len(got.UserKey) > len("user:")+maxID || len(got.Groups) > maxList || len(got.Name) > maxName || slices.Contains(seen, got.UserKey) {
			t.Errorf("%q, %d groups, name %q", got.UserKey, len(got.Groups), got.Name)
		}
		seen = append(seen, got.UserKey)
	}
}

func TestMessagesLeakNothing(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI(), sso()}, Anonymous: AnonymousDeny})
	for _, h := range []headers{
		nil,
		{"Authorization": "Bearer sk-very-private"},
		{"Authorization": "Bearer k-old"},
		{"Authorization": "Bearer a.b.sk-very-private"},
		{signedH: "sk-very-private"},
		{"Authorization": "Basic sk-very-private"},
	} {
		_, problem := i.Identify(request(h))
		if problem == nil {
			t.Fatal(h)
		}
		for _, private := range []string{"sk-very-private", "k-old", secret, "openwebui", "https://sso", "sha256"} {
			if strings.Contains(problem.Message, private) {
				t.Errorf("%v: %q tells %q", h, problem.Message, private)
			}
		}
	}
}
