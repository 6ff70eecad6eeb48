package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBackendOrders are what the admin API hears, with the token that the
// configuration names, and what it answers is told.
func TestBackendOrders(t *testing.T) {
	var heard []string
	port := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		heard = append(heard, strings.Join([]string{r.Header.Get("Authorization"), r.Method, r.URL.RequestURI(), string(b)}, " "))
		switch {
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, `{"main":[{"url":"http://a","up":true,"slots":4,"running":1},{"url":"http://b","detail":"draining"}]}`)
		case strings.HasSuffix(r.URL.Path, "resume"):
			http.Error(w, "not found: the pool main has no backend http://x", http.StatusNotFound)
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer port.Close()
	file := filepath.Join(t.TempDir(), "fairlane.yaml")
	text := "admin: {listen: '" + strings.TrimPrefix(port.URL, "http://") + "', tokens: [{name: wall, token: seen, role: viewer}, {name: ops, token: sesame, role: operator}]}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, complaints := try(t, nil, append([]string{"backend"}, args...)...)
		if code != want {
			t.Errorf("%v ends with %d: %s", args, code, complaints)
		}
		return out + complaints
	}
	table := run(0, "list", "-c", file)
	for _, want := range []string{"http://a  up        1        4", "http://b  draining  0"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	run(0, "add", "http://c", "-c", file, "--slots", "3")
	run(0, "drain", "http://a", "--admin", port.URL+"/", "--token", "mine", "--pool", "main")
	run(0, "remove", "http://a:1/x?y", "-c", file)
	if said := run(1, "resume", "http://x", "-c", file); !strings.Contains(said, "has no backend http://x") {
		t.Errorf("said %q", said)
	}
	want := []string{
		`Bearer sesame GET /api/v1/backends `,
		`Bearer sesame POST /api/v1/backends {"kv_tokens":0,"pool":"","slots":3,"url":"http://c"}`,
		`Bearer mine POST /api/v1/backends/drain {"pool":"main","url":"http://a"}`,
		`Bearer sesame DELETE /api/v1/backends?url=http%3A%2F%2Fa%3A1%2Fx%3Fy `,
		`Bearer sesame POST /api/v1/backends/resume {"pool":"","url":"http://x"}`,
	}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	port.Close()
	if said := run(1, "list", "-c", file); !strings.Contains(said, "does not answer") {
		t.Errorf("said %q", said)
	}
}
