package config

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Whatever the file is, it is a configuration or an error with a place, and no
// secret is shown.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.yaml", exampleFile} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	const hidden = "q7SecretOfTheEnvironment"
	read := func(string, int) ([]byte, error) { return nil, errors.New("no files here") }
	env := func(name string) (string, bool) { return hidden, strings.HasPrefix(name, "S") }
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Source{Path: "x.yaml", Data: data}.parse(env, read)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.HasPrefix(line, "x.yaml:") || strings.Contains(line, hidden) {
					t.Errorf("%q", line)
				}
			}
			return
		}
		if err := c.Describe(io.Discard); err != nil {
			t.Error(err)
		}
		if got := c.Restart(c); len(got) > 0 {
			t.Error(got)
		}
	})
}
