package identity

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// wellFormed is what every text of an identity has to be.
func wellFormed(t *testing.T, s string, limit int) {
	t.Helper()
	if len(s) > limit || !utf8.ValidString(s) || strings.TrimSpace(s) != s {
		t.Errorf("%d bytes: %q", len(s), s)
	}
	for _, r := range s {
		if unicode.IsControl(r) || r == '\u202e' || r == '\u200b' {
			t.Errorf("%q in %q", r, s)
		}
	}
}

func FuzzForwardedHeaders(f *testing.F) {
	f.Add("u-1", "Anna@example.com", "Anna%20B", "vip, gold", "title_generation", "jwt", "1.2.3.4, [::1]:80")
	f.Add("\x00", "@", "%zz%00%1b", ",,{{USER_GROUPS}}", "{{TASK}}", "\xff", ",")
	f.Add(strings.Repeat("é", 200), "a@b", "%E2%80%AE", "%2C,%", "a\nb", "api_key", "10.0.0.1")
	f.Fuzz(func(t *testing.T, user, mail, name, groups, task, auth, forwarded string) {
		i := mustNew(t, Config{})
		r := request(nil)
		r.Header = map[string][]string{
			i.headers.User: {user}, i.headers.Email: {mail}, i.headers.Name: {name}, i.headers.Groups: {groups}, i.headers.GroupIDs: {groups},
			i.headers.Task: {task}, i.headers.Message: {task}, i.headers.Chat: {task}, i.headers.AuthType: {auth}, i.headers.Role: {auth}, "X-Forwarded-For": {forwarded},
			openWebUISigned: {user + "." + mail + "." + name},
		}
		id, problem := i.Identify(r)
		if problem != nil {
			t.Fatal(problem)
		}
		if _, found := strings.CutPrefix(id.UserKey, "user:"); found == (id.Nobody || id.Anonymous) || id.Nobody && id.Anonymous {
			t.Errorf("%q, nobody: %v, anonymous: %v", id.UserKey, id.Nobody, id.Anonymous)
		}
		wellFormed(t, id.UserKey, maxEmail+len("user:"))
		wellFormed(t, id.Name, maxEmail)
		wellFormed(t, id.ID, maxEmail)
		wellFormed(t, id.Email, maxEmail)
		wellFormed(t, id.Task, maxTask)
		wellFormed(t, id.MessageID, maxID)
		wellFormed(t, id.ChatID, maxID)
		for _, s := range append(id.Groups, id.Roles...) {
			wellFormed(t, s, maxGroup)
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.AAAA")
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		i := mustNew(t, Config{JWT: []Issuer{sso(), openWebUI()}})
		r := request(nil)
		r.Header[authorization] = []string{"Bearer " + token}
		if id, problem := i.Identify(r); problem == nil {
			t.Errorf("%q was let in as %+v", token, id)
		}
	})
}
