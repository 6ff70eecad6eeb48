package identity

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"fairlane/scheduler"
)

// webUI is an Open WebUI that knows some tokens.
type webUI struct {
	*httptest.Server
	asked atomic.Int64 // about tokens
}

const (
	chatKey = "sk-0123456789abcdef"
	oldKey  = "sk-fedcba9876543210" // of a version that tells of API keys as of sessions, and of no groups
)

// sessionToken is one as Open WebUI makes them: it names no issuer.
func sessionToken(t *testing.T, of string) string {
	t.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"id": of, "jti": "j", "exp": time.Now().Add(time.Hour).Unix()}).SignedString([]byte("of Open WebUI"))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func newWebUI(t *testing.T) *webUI {
	t.Helper()
	w := &webUI{}
	bodies := map[string]string{
		"Bearer " + sessionToken(t, "anna"):    `{"id":"u-1","email":"Anna@example.com","name":"Anna","role":"admin","profile_image_url":"/x"}`,
		"Bearer " + chatKey:                    `{"id":"u-2","email":"bob@example.com","name":"Bob","role":"user"}`,
		"Bearer " + oldKey:                     `{"id":"u-4","email":"old@example.com","name":"Old","role":"user"}`,
		"Bearer " + sessionToken(t, "waiting"): `{"id":"u-3","email":"new@example.com","name":"New","role":"pending"}`,
	}
	groups := map[string]string{
		"Bearer " + sessionToken(t, "anna"): `[{"id":"g-1","name":"R&D","user_id":"u-9"},{"id":"g-2","name":" vip, gold\u0000"},{"id":"","name":""}]`,
		"Bearer " + chatKey:                 `[]`,
	}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		bearer := r.Header.Get("Authorization")
		body, known := bodies[bearer]
		rw.Header().Set("Content-Type", "application/json")
		switch path := r.URL.RequestURI(); {
		case path == sessionPath && bearer == "Bearer "+chatKey:
			http.Error(rw, `{"detail":"A human session is required."}`, http.StatusForbidden)
			return
		case path == keyPath && bearer == "Bearer "+chatKey:
		case path == groupsPath:
			if body, known = groups[bearer]; !known {
				http.Error(rw, `{"detail":"no such user"}`, http.StatusBadRequest)
				return
			}
			fmt.Fprint(rw, body)
			return
		case path != sessionPath || !known:
			http.Error(rw, `{"detail":"401 Unauthorized"}`, http.StatusUnauthorized)
		}
		if w.asked.Add(1); !known {
			return
		}
		http.SetCookie(rw, &http.Cookie{Name: "token", Value: "x"})
		fmt.Fprint(rw, body)
	}))
	t.Cleanup(w.Close)
	return w
}

func withSessions(t *testing.T, cfg Config, url string) *Identifier {
	t.Helper()
	cfg.OpenWebUISessions = url
	i, err := New(cfg, Deps{Logger: slog.New(slog.DiscardHandler), Client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Stop)
	return i
}

func TestOpenWebUISessions(t *testing.T) {
	w := newWebUI(t)
	i := withSessions(t, Config{APIKeys: someKeys(), JWT: []Issuer{sso()}}, w.URL+"/")
	bearer := func(token string) headers { return headers{"Authorization": "Bearer " + token} }
	annaID := &Identity{UserKey: "user:anna@example.com", ID: "u-1", Name: "Anna", Email: "anna@example.com", Roles: []string{"admin"}, Groups: []string{"R&D", "vip, gold", "g-1", "g-2"}, AuthType: AuthJWT, Verified: true}
	bob := &Identity{UserKey: "user:bob@example.com", ID: "u-2", Name: "Bob", Email: "bob@example.com", Roles: []string{"user"}, AuthType: AuthAPIKey, Verified: true}
	runCases(t, i, []identifyCase{
		{"a session", bearer(sessionToken(t, "anna")), annaID, ""},
		{"a session, again", bearer(sessionToken(t, "anna")), annaID, ""},
		{"headers beside it are not believed", headers{"Authorization": "Bearer " + sessionToken(t, "anna"), "X-User-Groups": "vip", "X-OpenWebUI-User-Email": "boss@example.com"}, annaID, ""},
		{"an API key of Open WebUI", bearer(chatKey), bob, ""},
		{"one of an older Open WebUI", bearer(oldKey), &Identity{UserKey: "user:old@example.com", ID: "u-4", Name: "Old", Email: "old@example.com", Roles: []string{"user"}, AuthType: AuthAPIKey, Verified: true}, ""},
		{"an unknown one", bearer("sk-unknown"), nil, ReasonUnknownKey},
		{"an unknown one, again", bearer("sk-unknown"), nil, ReasonUnknownKey},
		{"a session that is nobody's", bearer(sessionToken(t, "nobody")), nil, ReasonUnknownKey},
		{"somebody who waits to be let in", bearer(sessionToken(t, "waiting")), nil, ReasonNotAdmitted},
		{"nothing at all", nil, anonymous(), ""},
	})
	if n := w.asked.Load(); n != 6 {
		t.Errorf("asked %d times about six tokens", n)
	}
	runCases(t, i, []identifyCase{
		{"what looks like no token of it", bearer("hunter2"), nil, ReasonUnknownKey},
		{"a key of ours", bearer("k-mail"), &Identity{UserKey: "user:anna@example.com", ID: "anna@example.com", Name: "anna@example.com", Email: "anna@example.com", KeyID: "mail", AuthType: AuthAPIKey, Verified: true}, ""},
		{"an expired key of ours", bearer("k-old"), nil, ReasonExpiredKey},
		{"a bad token of an issuer of ours", bearer(mint(t, "forged", Token{Issuer: "https://sso", Audience: "fairlane", Subject: "x"})), nil, ReasonSignature},
	})
	if n := w.asked.Load(); n != 6 {
		t.Error("it was asked about what others judge")
	}
	if err := CheckSessions(t.Context(), w.URL); err != nil {
		t.Error(err)
	}
}

func TestOnlySessionsAreNotOpenMode(t *testing.T) {
	i := withSessions(t, Config{}, newWebUI(t).URL)
	if i.OpenMode() {
		t.Error("open mode")
	}
	runCases(t, i, []identifyCase{{"headers of anybody", person(nil), anonymous(), ""}, {"an unknown key", headers{"Authorization": "Bearer sk-x"}, nil, ReasonUnknownKey}})
}

// TestSessionsOfAnAddressThatOthersGuessFrom go on, and nobody is asked about the
// guesses any more.
func TestSessionsOfAnAddressThatOthersGuessFrom(t *testing.T) {
	w := newWebUI(t)
	i := withSessions(t, Config{FailedCredentials: Rate{2, time.Hour}}, w.URL)
	for n, tc := range []struct {
		token string
		want  scheduler.Code
	}{
		{chatKey, ""},
		{"sk-guess1", scheduler.CodeInvalidAPIKey},
		{"sk-guess2", scheduler.CodeInvalidAPIKey},
		{"sk-guess3", scheduler.CodeRateLimit},
		{"sk-guess4", scheduler.CodeRateLimit},
		{chatKey, ""},
		{sessionToken(t, "anna"), scheduler.CodeRateLimit},
	} {
		_, p := i.Identify(request(headers{"Authorization": "Bearer " + tc.token}))
		if (p == nil) != (tc.want == "") || p != nil && p.Code != tc.want {
			t.Errorf("%d: %v, want %q", n, p, tc.want)
		}
	}
	if n := w.asked.Load(); n != 3 {
		t.Errorf("asked %d times", n)
	}
}

// TestKeysThatMayNotAsk: Open WebUI answers 403 to whatever the key may not do. That
// is nobody; what fails is no answer, also if it is the groups that do.
func TestKeysThatMayNotAsk(t *testing.T) {
	const bob = `{"id":"u-2","email":"bob@example.com","role":"user"}`
	for _, tt := range []struct {
		name             string
		session, key     int
		groups           int
		groupsBody, kind string
		want             Reason
	}{
		{"everywhere", 403, 403, 200, "[]", "application/json", ReasonUnknownKey},
		{"an older one, without the other address", 403, 404, 200, "[]", "application/json", ReasonUnknownKey},
		{"the other address fails", 403, 500, 200, "[]", "application/json", ReasonSessionsDown},
		{"the groups", 403, 200, 403, "{}", "application/json", ""},
		{"a page for the groups", 403, 200, 200, "<html>", "text/html", ""},
		{"groups that are none", 403, 200, 200, `{"detail":"x"}`, "application/json", ""},
		{"the groups fail", 403, 200, 502, "[]", "application/json", ReasonSessionsDown},
		{"too many ask for groups", 403, 200, 429, "[]", "application/json", ReasonSessionsDown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status, body, kind := tt.session, bob, "application/json"
				switch r.URL.RequestURI() {
				case keyPath:
					status = tt.key
				case groupsPath:
					status, body, kind = tt.groups, tt.groupsBody, tt.kind
				}
				w.Header().Set("Content-Type", kind)
				w.WriteHeader(status)
				fmt.Fprint(w, body)
			}))
			defer srv.Close()
			id, p := withSessions(t, Config{}, srv.URL).Identify(request(headers{"Authorization": "Bearer " + chatKey}))
			switch {
			case (p == nil) != (tt.want == "") || p != nil && p.Reason != tt.want:
				t.Errorf("%+v", p)
			case p == nil && (id.UserKey != "user:bob@example.com" || len(id.Groups) > 0):
				t.Errorf("%+v", id)
			}
		})
	}
}

// TestSessionAnswersThatAreNone let nobody in, and send nobody away for good.
func TestSessionAnswersThatAreNone(t *testing.T) {
	const good = `{"id":"u-1","email":"anna@example.com","role":"admin"}`
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, good)
	}))
	t.Cleanup(other.Close)
	write := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"a page":             write(200, "text/html", "<html>log in</html>"),
		"JSON as a page":     write(200, "text/html", good),
		"half of it":         write(200, "application/json", good[:20]),
		"a list":             write(200, "application/json", "["+good+"]"),
		"nobody":             write(200, "application/json", `{"email":"anna@example.com","role":"admin"}`),
		"an id that is none": write(200, "application/json", `{"id":17,"role":"admin"}`),
		"an empty answer":    write(200, "application/json", ""),
		"far too much":       write(200, "application/json", `{"id":"u","role":"user","profile_image_url":"`+strings.Repeat("x", maxSessionBody)+`"}`),
		"another success":    write(206, "application/json", good),
		"a 500":              write(500, "application/json", good),
		"a 404":              write(404, "application/json", good),
		"a 429":              write(429, "application/json", good),
		"a redirect":         func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			defer srv.Close()
			i := withSessions(t, Config{}, srv.URL)
			defer i.Stop()
			id, p := i.Identify(request(headers{"Authorization": "Bearer " + chatKey}))
			if p == nil || p.Code != scheduler.CodeOverloaded || p.Reason != ReasonSessionsDown || p.RetryAfter == 0 || id.UserKey != "" {
				t.Errorf("%+v %+v", id, p)
			}
			if err := CheckSessions(t.Context(), srv.URL); err == nil {
				t.Error("the doctor sees nothing")
			}
		})
	}
}
