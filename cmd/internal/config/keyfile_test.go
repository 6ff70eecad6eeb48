package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A key file comes and goes while the process runs, unless it would enter open mode
// or leave it.
func TestKeyFileAndRestart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "keys.yaml")
	if err := os.WriteFile(file, []byte("- {id: ci, sha256: "+strings.Repeat("ab", 32)+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, issuer := "  api_keys: {file: "+file+"}\n", "  jwt: [{name: sso, secret: sesame}]\n"
	const later = "identity.api_keys.file"
	for _, tt := range []struct {
		name      string
		now, next string
		want      bool
	}{
		{"beside an issuer", issuer, issuer + keys, false},
		{"away from beside an issuer", issuer + keys, issuer, false},
		{"out of open mode", "", keys, true},
		{"into open mode", keys, "", true},
		{"out of open mode, with an issuer", "", issuer + keys, true},
		{"out of open mode, by an issuer", "", issuer, false},
		{"for an issuer that is not there yet", keys, issuer, true},
		{"no change", keys, keys, false},
	} {
		now, next := parse(t, "identity:\n"+tt.now, nil), parse(t, "identity:\n"+tt.next, nil)
		if got := now.Restart(next); slices.Contains(got, later) != tt.want {
			t.Errorf("%s: a restart for %v", tt.name, got)
		}
	}
}
