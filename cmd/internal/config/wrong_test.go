package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update rewrites what the golden files expect.
const update = "UPDATE_GOLDEN"

func golden(t *testing.T, path, got string) {
	t.Helper()
	if os.Getenv(update) != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", path, diff)
	}
}

func environment(t *testing.T, vars map[string]string) func(string) (string, bool) {
	t.Helper()
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

// Each file of testdata/wrong is wrong in many ways; beside it is all that is said
// about it.
func TestWrong(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	env := environment(t, map[string]string{
		"SECRET": "hunter2000", "DIGEST": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
	})
	place := regexp.MustCompile(`^testdata/wrong/[a-z_.]+:\d+:\d+: `)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, err := Load(file, env)
			if err == nil || c != nil {
				t.Fatalf("no error, %v", c)
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !place.MatchString(line) {
					t.Errorf("no place: %s", line)
				}
				for _, secret := range []string{"hunter2000", "secret1", "secret2", "abcdefg", "60303a"} {
					if strings.Contains(line, secret) {
						t.Errorf("shows a secret: %s", line)
					}
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", err.Error()+"\n")
		})
	}
}

func TestNoFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "missing.yaml"), nil)
	if err == nil || !strings.Contains(err.Error(), "missing.yaml: no such file") {
		t.Error(err)
	}
}

// A file that is something else altogether does not fill the screen.
func TestManyFaults(t *testing.T) {
	var b strings.Builder
	for i := range 5000 {
		b.WriteString(strings.Repeat("x", 1+i%7) + strings.Repeat("y", i/7) + ": 1\n")
	}
	_, err := Parse([]byte(b.String()), "x.yaml", nil)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxFaults+1 || lines[maxFaults] != "x.yaml: and 4900 more" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

func TestTooLarge(t *testing.T) {
	_, err := Parse([]byte(strings.Repeat("#\n", maxFile)), "x.yaml", nil)
	if err == nil || !strings.Contains(err.Error(), "x.yaml: is larger than 8 MB") {
		t.Error(err)
	}
}

// What doubles with every alias stays as small as it is written, and what is
// deep is refused by the parser.
func TestBomb(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x]\n")
	for i := range 60 {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	for _, text := range []string{b.String(), "share: " + strings.Repeat("[", 20000), "share: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)} {
		if _, err := Parse([]byte(text), "x.yaml", nil); err == nil {
			t.Errorf("no error for %.20s", text)
		}
	}
}
