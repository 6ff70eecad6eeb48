package app

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlane/cmd/internal/keyfile"
	"fairlane/proxy/identity"
)

// TestKeyFileComesAndGoes takes keys up beside an issuer without a restart.
func TestKeyFileComesAndGoes(t *testing.T) {
	m := newModel(t, whole)
	keys := keyFile(t, "k-ci")
	issuer := m.pool(4) + "identity:\n  jwt: [{name: idp, secret: 0123456789abcdef0123456789abcdef}]\n"
	in := install(t, issuer)
	in.ready()
	if got := in.withKey("k-ci"); got != http.StatusUnauthorized {
		t.Fatalf("a key that nobody knows: %d", got)
	}
	in.write(issuer + keys)
	in.until("the key is known", func() bool { return in.withKey("k-ci") == http.StatusOK })
	in.write(issuer)
	in.until("the key is forgotten", func() bool { return in.withKey("k-ci") == http.StatusUnauthorized })
	if strings.Contains(in.log.String(), "restart") {
		t.Errorf("a restart was asked for:\n%s", in.log)
	}
}

// TestLastProofStays takes the key file out of the configuration: until the
// restart that this needs the keys are good, and nothing else is.
func TestLastProofStays(t *testing.T) {
	m := newModel(t, whole)
	in := install(t, m.pool(4)+"identity:\n  anonymous: deny\n"+keyFile(t, "k-ci"))
	in.ready()
	for n, class := range []string{"vip", "standard"} {
		in.write(m.pool(4) + "policy: [{class: " + class + "}]\n")
		in.tellsOfKeys(n + 1)
		if got := in.withKey("k-ci"); got != http.StatusOK {
			t.Errorf("the key: %d", got)
		}
		if got := in.withKey("k-other"); got != http.StatusUnauthorized {
			t.Errorf("another key: %d", got)
		}
	}
}

// TestKeysWaitForTheRestart adds a key file in open mode, twice: each time it is
// said that nothing is verified yet.
func TestKeysWaitForTheRestart(t *testing.T) {
	m := newModel(t, whole)
	in := install(t, m.pool(4))
	in.ready()
	keys := m.pool(4) + "identity:\n" + keyFile(t, "k-ci")
	for n, class := range []string{"vip", "standard"} {
		in.write(keys + "policy: [{class: " + class + "}]\n")
		in.tellsOfKeys(n + 1)
	}
}

// tellsOfKeys waits for so many warnings that keys wait for a restart.
func (in *installation) tellsOfKeys(times int) {
	in.t.Helper()
	in.until("the restart is asked for", func() bool {
		var n int
		for line := range strings.Lines(in.log.String()) {
			if strings.Contains(line, "restart") && strings.Contains(line, "identity.api_keys.file") {
				n++
			}
		}
		return n >= times
	})
}

func (in *installation) withKey(key string) int {
	in.t.Helper()
	return in.post("/v1/chat/completions", chatOf("x"), "Authorization", "Bearer "+key).status
}

// keyFile is the line of the identity section that names a file with one key.
func keyFile(t *testing.T, key string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys.yaml")
	digest := sha256.Sum256([]byte(key))
	if err := os.WriteFile(name, []byte("- {id: ci, sha256: "+hex.EncodeToString(digest[:])+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "  api_keys: {file: " + name + "}\n"
}

// TestKeysOfTheCommandLine are good, and no longer good, without a restart.
func TestKeysOfTheCommandLine(t *testing.T) {
	m := newModel(t, whole)
	file := keyfile.File{Path: filepath.Join(t.TempDir(), "keys.yaml")}
	if _, err := file.Create(identity.Key{ID: "first"}); err != nil {
		t.Fatal(err)
	}
	in := install(t, m.pool(4)+"identity:\n  anonymous: deny\n  failed_credentials: \"\"\n  api_keys: {file: "+file.Path+"}\n")
	in.ready()
	key, err := file.Create(identity.Key{ID: "second", User: "anna@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	in.until("the key is known", func() bool { return in.withKey(key) == http.StatusOK })
	if err := file.Revoke("second"); err != nil {
		t.Fatal(err)
	}
	in.until("the key is forgotten", func() bool { return in.withKey(key) == http.StatusUnauthorized })
	if strings.Contains(in.log.String(), key) {
		t.Error("the log holds the key")
	}
}
