package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"fairlane/proxy"
	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
)

// Source is a configuration as it was read. An empty Path: there is none, and
// everything has its default.
type Source struct {
	Path string
	Data []byte
}

// Load reads the file at a path, and the files that it refers to. An empty path
// gives the defaults.
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	if path == "" {
		return Parse(nil, "", env)
	}
	data, err := readFile(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	return Source{Path: path, Data: data}.parse(env, readFile)
}

// Parse reads a configuration that is called name in messages. The files that it
// refers to are read, relative ones from the directory of name.
func Parse(data []byte, name string, env func(string) (string, bool)) (*Config, error) {
	return Source{Path: name, Data: data}.parse(env, readFile)
}

func (src Source) parse(env func(string) (string, bool), read func(string, int) ([]byte, error)) (*Config, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	r := &reader{name: src.Path, dir: filepath.Dir(src.Path), env: env, read: read, marks: map[string]mark{}, keys: map[string]mark{}}
	if r.name == "" {
		r.name = "configuration"
	}
	c := &Config{Edge: proxy.Config{}.WithDefaults(), Identity: identity.Config{}.WithDefaults(), Policy: policy.Defaults()}
	root := r.section(r.document(src.Data, r.name, ""), "")
	if src.Path != "" {
		c.Files = []string{src.Path}
	}
	c.root(root)
	root.done()
	if err := r.err(); err != nil {
		return nil, err
	}
	c.settings, c.Warnings = r.settings, r.warnings
	for i, w := range c.Warnings {
		c.Warnings[i] = r.scrub(w)
	}
	return c, nil
}

// readFile reads a file that is not larger than most bytes.
func readFile(path string, most int) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > most:
		return nil, errors.New("is larger than " + showSize(int64(most)))
	}
	return data, nil
}

// root reads the keys in the order of the example file.
func (c *Config) root(s *section) {
	c.server(s)
	c.stores(s)
	c.pools(s)
	c.shares(s)
	c.rules(s)
	c.identity(s)
	c.rest(s)
	if len(s.faults) == 0 {
		c.inversions(s.reader)
	}
}

// warn notes what is configured and does nothing yet.
func (r *reader) warn(path, what string) {
	r.warnings = append(r.warnings, path+": "+what)
}
