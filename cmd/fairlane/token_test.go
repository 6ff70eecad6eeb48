package main

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"fairlane/proxy/identity"
)

// who is somebody that an issuer with this secret sends with a token.
func who(t *testing.T, token string) *identity.Identity {
	t.Helper()
	i, err := identity.New(identity.Config{JWT: []identity.Issuer{{
		Name: "test", Secret: "sesame", Issuer: "iss", Audience: "aud", EmailClaim: "email", RolesClaim: "roles", GroupsClaim: "groups",
	}}}, identity.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/v1/chat/completions", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	id, problem := i.Identify(r)
	if problem != nil {
		t.Fatal(problem)
	}
	return id
}

// A minted token is believed, and says what the command line said.
func TestToken(t *testing.T) {
	args := []string{"token", "--issuer", "iss", "--audience", "aud", "--sub", "anna", "--email", "anna@example.com", "--name", "Anna", "--roles", "vip,admin", "--groups", "R&D", "--lifetime", "1m"}
	for _, env := range []map[string]string{nil, {signedWith: "sesame"}} {
		line := args
		if env == nil {
			line = append(slices.Clone(args), "--secret", "sesame")
		}
		code, out, complaints := try(t, env, line...)
		if code != 0 || complaints != "" || strings.Count(out, "\n") != 1 {
			t.Fatalf("%d, %q, %q", code, out, complaints)
		}
		id := who(t, strings.TrimSpace(out))
		if id.ID != "anna" || id.Email != "anna@example.com" || id.Name != "Anna" || !slices.Equal(id.Roles, []string{"vip", "admin"}) || !slices.Equal(id.Groups, []string{"R&D"}) {
			t.Errorf("%+v", id)
		}
	}
}

func TestTokenWrong(t *testing.T) {
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{1, signedWith, []string{"token"}},
		{1, "not positive", []string{"token", "--secret", "sesame", "--lifetime=-1s"}},
		{2, "lifetime", []string{"token", "--secret", "sesame", "--lifetime", "long"}},
		{2, "--nobody", []string{"token", "--nobody", "x"}},
	} {
		code, out, complaints := try(t, nil, tc.args...)
		if code != tc.code || out != "" && tc.code == 1 || !strings.Contains(complaints, tc.want) || strings.Contains(complaints, "sesame") {
			t.Errorf("%v: %d, %q, %q", tc.args, code, out, complaints)
		}
	}
}
