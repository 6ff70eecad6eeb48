package keyfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fairlane/proxy/identity"
)

// hash is the n-th of hashes that stand for keys.
func hash(n int) string { return fmt.Sprintf("%064x", n) }

// written is a file with a content, in which h1, h2, … stand for hashes.
func written(t *testing.T, text string) File {
	t.Helper()
	f := File{Path: filepath.Join(t.TempDir(), "keys.yaml")}
	for n := range 9 {
		text = strings.ReplaceAll(text, fmt.Sprintf("h%d", n), hash(n))
	}
	if err := os.WriteFile(f.Path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

// content is what is in the file, with h1, h2, … for hashes and new for the rest.
func content(t *testing.T, f File, secret string) string {
	t.Helper()
	data, err := os.ReadFile(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	sum := sha256.Sum256([]byte(secret))
	text = strings.ReplaceAll(text, hex.EncodeToString(sum[:]), "new")
	for n := range 9 {
		text = strings.ReplaceAll(text, hash(n), fmt.Sprintf("h%d", n))
	}
	return text
}

func TestCreate(t *testing.T) {
	line := `- {id: ci, sha256: new, user: ci-bot@example.com, roles: [bot], groups: ['R&D, all'], expires: "2027-01-01"}` + "\n"
	for name, tc := range map[string]struct{ before, after string }{
		"an empty file":       {"", line},
		"comments only":       {"# our keys", "# our keys\n" + line},
		"an empty list":       {"# ours\n[]\n", "# ours\n" + line},
		"a list":              {"# ours\n- {id: a, sha256: h1} # Anna's\n\n# the end", "# ours\n- {id: a, sha256: h1} # Anna's\n\n# the end\n" + line},
		"long entries":        {"- id: a\n  sha256: h1\n", "- id: a\n  sha256: h1\n" + line},
		"an indented list":    {"  - id: a\n    sha256: h1\n", "  - id: a\n    sha256: h1\n  " + line},
		"a list in brackets":  {"# ours\n[{id: a, sha256: h1}]\n", "# ours\n- {id: a, sha256: h1}\n" + line},
		"a list with ${ENV}s": {"- {id: a, sha256: h1, user: \"${WHO:-anna}\"}\n", "- {id: a, sha256: h1, user: \"${WHO:-anna}\"}\n" + line},
	} {
		t.Run(name, func(t *testing.T) {
			f := written(t, tc.before)
			secret, err := f.Create(identity.Key{
				ID: "ci", User: "ci-bot@example.com", Roles: []string{"bot"}, Groups: []string{"R&D, all"}, Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.after, content(t, f, secret)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if info, err := os.Stat(f.Path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			if !strings.HasPrefix(secret, prefix) || len(secret) < 26 {
				t.Errorf("a key like %q", secret)
			}
		})
	}
}

func TestRevoke(t *testing.T) {
	const three = "# ours\n- {id: a, sha256: h1} # Anna's\n\n# for b\n- id: b\n  sha256: h2\n  # its role\n  roles:\n    - x\n\n# for c\n- {id: c, sha256: h3}\n# the end\n"
	for id, want := range map[string]string{
		"a": "# ours\n\n# for b\n- id: b\n  sha256: h2\n  # its role\n  roles:\n    - x\n\n# for c\n- {id: c, sha256: h3}\n# the end\n",
		"b": "# ours\n- {id: a, sha256: h1} # Anna's\n\n\n# for c\n- {id: c, sha256: h3}\n# the end\n",
		"c": "# ours\n- {id: a, sha256: h1} # Anna's\n\n# for b\n- id: b\n  sha256: h2\n  # its role\n  roles:\n    - x\n\n# the end\n",
	} {
		f := written(t, three)
		if err := f.Revoke(id); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, content(t, f, "")); diff != "" {
			t.Errorf("without %s: -want +got\n%s", id, diff)
		}
	}
	f := written(t, "[{id: a, sha256: h1}]\n")
	if err := f.Revoke("a"); err != nil || content(t, f, "") != "[]\n" {
		t.Errorf("%q, %v", content(t, f, ""), err)
	}
}

// TestRefused leaves the file as it is.
func TestRefused(t *testing.T) {
	const before = "- {id: a, sha256: h1}\n"
	for name, do := range map[string]func(File) error{
		"an id that is taken":      func(f File) error { _, err := f.Create(identity.Key{ID: "a"}); return err },
		"an id that is none":       func(f File) error { _, err := f.Create(identity.Key{ID: "a b"}); return err },
		"a person who forwards":    func(f File) error { _, err := f.Create(identity.Key{ID: "b", User: "u", Forwarder: true}); return err },
		"what stands for a secret": func(f File) error { _, err := f.Create(identity.Key{ID: "b", User: "${file:/etc/shadow}"}); return err },
		"a key that is not there":  func(f File) error { return f.Revoke("b") },
	} {
		f := written(t, before)
		if err := do(f); err == nil {
			t.Errorf("%s: taken", name)
		}
		if got := content(t, f, ""); got != before {
			t.Errorf("%s: %q", name, got)
		}
		if left, err := filepath.Glob(filepath.Join(filepath.Dir(f.Path), ".*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, %v", name, left, err)
		}
	}
	broken := written(t, "- {id: a, sha256: nothing}\n")
	if _, err := broken.Create(identity.Key{ID: "b"}); err == nil || !strings.Contains(err.Error(), "mend the key file first") {
		t.Errorf("a broken file: %v", err)
	}
}

func TestALinkStaysOne(t *testing.T) {
	f := written(t, "")
	link := File{Path: filepath.Join(t.TempDir(), "link.yaml")}
	if err := os.Symlink(f.Path, link.Path); err != nil {
		t.Fatal(err)
	}
	secret, err := link.Create(identity.Key{ID: "a"})
	if err != nil || content(t, f, secret) != "- {id: a, sha256: new}\n" {
		t.Errorf("%q, %v", content(t, f, secret), err)
	}
}

// TestManyAtOnce lose no key.
func TestManyAtOnce(t *testing.T) {
	f := File{Path: filepath.Join(t.TempDir(), "keys.yaml")}
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			if _, err := f.Create(identity.Key{ID: fmt.Sprint("k", n)}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if keys, err := f.List(); err != nil || len(keys) != 20 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

// TestEdits make and revoke keys in any order; what is in the file is what was
// made and not revoked, and comments stay.
func TestEdits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := File{Path: filepath.Join(t.TempDir(), "keys.yaml")}
		start := rapid.SampledFrom([]string{"", "# top\n", "[]\n", "# top\n- id: z\n  sha256: " + hash(1) + "\n  groups:\n  - a\n  - b\n# end\n"}).Draw(rt, "start")
		if err := os.WriteFile(f.Path, []byte(start), 0o600); err != nil {
			rt.Fatal(err)
		}
		want := map[string]string{}
		if strings.Contains(start, "id: z") {
			want["z"] = ""
		}
		word := rapid.StringMatching(`[A-Za-z#:,'"{}&*\[\]é ]{0,8}[a-z]`)
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "true", "1", "z"}).Draw(rt, "id")
			_, there := want[id]
			var err error
			if there {
				err = f.Revoke(id)
				delete(want, id)
			} else {
				user := word.Draw(rt, "user")
				_, err = f.Create(identity.Key{ID: id, User: user, Groups: []string{word.Draw(rt, "group")}})
				want[id] = user
			}
			if err != nil {
				rt.Fatal(err)
			}
		}
		keys, err := f.List()
		if err != nil {
			rt.Fatal(err)
		}
		got := map[string]string{}
		for _, k := range keys {
			got[k.ID] = k.User
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Errorf("-want +got\n%s", diff)
		}
		if data, err := os.ReadFile(f.Path); err != nil || strings.Contains(start, "# top") != strings.Contains(string(data), "# top") {
			rt.Errorf("%v: %s", err, data)
		}
	})
}
