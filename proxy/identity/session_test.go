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
	asked atomic.Int64
}

const chatKey = "sk-0123456789abcdef"

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
		"Bearer " + sessionToken(t, "waiting"): `{"id":"u-3","email":"new@example.com","name":"New","role":"pending"}`,
	}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		body, known := bodies[r.Header.Get("Authorization")]
		if r.URL.Path != "/api/v1/auths/" || !known {
			http.Error(rw, `{"detail":"401 Unauthorized"}`, http.StatusUnauthorized)
			return
		}
		rw.Header().Set("Content-Type", "application/json")
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
	annaID := &Identity{UserKey: "user:anna@example.com", ID: "u-1", Name: "Anna", Email: "anna@example.com", Roles: []string{"admin"}, AuthType: AuthJWT, Verified: true}
	bob := &Identity{UserKey: "user:bob@example.com", ID: "u-2", Name: "Bob", Email: "bob@example.com", Roles: []string{"user"}, AuthType: AuthAPIKey, Verified: true}
	runCases(t, i, []identifyCase{
		{"a session", bearer(sessionToken(t, "anna")), annaID, ""},
		{"a session, again", bearer(sessionToken(t, "anna")), annaID, ""},
		{"headers beside it are not believed", headers{"Authorization": "Bearer " + sessionToken(t, "anna"), "X-User-Groups": "vip", "X-OpenWebUI-User-Email": "boss@example.com"}, annaID, ""},
		{"an API key of Open WebUI", bearer(chatKey), bob, ""},
		{"an unknown one", bearer("sk-unknown"), nil, ReasonUnknownKey},
		{"an unknown one, again", bearer("sk-unknown"), nil, ReasonUnknownKey},
		{"a session that is nobody's", bearer(sessionToken(t, "nobody")), nil, ReasonUnknownKey},
		{"somebody who waits to be let in", bearer(sessionToken(t, "waiting")), nil, ReasonNotAdmitted},
		{"nothing at all", nil, anonymous(), ""},
	})
	if n := w.asked.Load(); n != 5 {
		t.Errorf("asked %d times about five tokens", n)
	}
	runCases(t, i, []identifyCase{
		{"what looks like no token of it", bearer("hunter2"), nil, ReasonUnknownKey},
		{"a key of ours", bearer("k-mail"), &Identity{UserKey: "user:anna@example.com", ID: "anna@example.com", Name: "anna@example.com", Email: "anna@example.com", KeyID: "mail", AuthType: AuthAPIKey, Verified: true}, ""},
		{"an expired key of ours", bearer("k-old"), nil, ReasonExpiredKey},
		{"a bad token of an issuer of ours", bearer(mint(t, "forged", Token{Issuer: "https://sso", Audience: "fairlane", Subject: "x"})), nil, ReasonSignature},
	})
	if n := w.asked.Load(); n != 5 {
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
