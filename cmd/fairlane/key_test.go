package main

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlane/cmd/internal/config"
	"fairlane/proxy/identity"
)

// TestKey makes a key, which is good until it is revoked.
func TestKey(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "fairlane.yaml")
	if err := os.WriteFile(conf, []byte("identity: {anonymous: deny, api_keys: {file: keys.yaml}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, complaints := try(t, nil, "key", "create", "-c", conf, "--id", "ci", "--user", "bot@example.com", "--roles", "bot,ci", "--groups", "robots", "--expires", "90d")
	if code != 0 || complaints != "" || strings.Count(out, "\n") != 1 {
		t.Fatalf("%d, %q, %q", code, out, complaints)
	}
	key := strings.TrimSpace(out)
	if data, err := os.ReadFile(filepath.Join(dir, "keys.yaml")); err != nil || strings.Contains(string(data), key) {
		t.Fatalf("the file holds the key, or %v", err)
	}
	identify := func() *identity.Identity {
		cfg, err := config.Load(conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		i, err := identity.New(cfg.Identity, identity.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/v1/chat/completions", nil)
		r.Header.Set("Authorization", "Bearer "+key)
		id, problem := i.Identify(r)
		if problem != nil {
			return nil
		}
		return id
	}
	if id := identify(); id == nil || id.UserKey != "user:bot@example.com" || len(id.Roles) != 2 || id.Groups[0] != "robots" || id.KeyID != "ci" {
		t.Errorf("%+v", id)
	}
	code, out, _ = try(t, nil, "key", "list", "-c", conf)
	if code != 0 || !strings.Contains(out, "ci") || !strings.Contains(out, "bot@example.com") || !strings.Contains(out, "bot,ci") || strings.Contains(out, key) {
		t.Errorf("%d, %s", code, out)
	}
	if code, _, complaints = try(t, nil, "key", "revoke", "-c", conf, "ci"); code != 0 {
		t.Errorf("%d, %s", code, complaints)
	}
	if id := identify(); id != nil {
		t.Errorf("a revoked key is %+v", id)
	}
}

func TestKeyWrong(t *testing.T) {
	dir := t.TempDir()
	file, conf := filepath.Join(dir, "keys.yaml"), filepath.Join(dir, "fairlane.yaml")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{1, "--file", []string{"key", "create", "--id", "a"}},
		{1, "identity.api_keys.file", []string{"key", "create", "--id", "a", "-c", conf}},
		{2, "--id", []string{"key", "create", "--file", file}},
		{1, "neither a date", []string{"key", "create", "--file", file, "--id", "a", "--expires", "soon"}},
		{1, "no key", []string{"key", "revoke", "--file", file, "a"}},
		{1, "cannot be read", []string{"key", "list", "--file", file}},
	} {
		code, out, complaints := try(t, nil, tc.args...)
		if code != tc.code || out != "" || !strings.Contains(complaints, tc.want) {
			t.Errorf("%v: %d, %q, %q", tc.args, code, out, complaints)
		}
	}
}
