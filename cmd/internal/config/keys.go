package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"fairlane/proxy/identity"
)

// Keys reads a file of keys as a configuration does that names it. Nothing at all
// is no keys.
func Keys(data []byte, name string, env func(string) (string, bool)) ([]identity.Key, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	r := &reader{name: name, dir: filepath.Dir(name), env: env, read: readFile, marks: map[string]mark{}, keys: map[string]mark{}}
	c := &Config{}
	c.keys(r, data, name)
	_, err := identity.New(identity.Config{KeyFile: true, APIKeys: c.Identity.APIKeys}, identity.Deps{})
	r.adopt(err)
	if err := r.err(); err != nil {
		return nil, err
	}
	return c.Identity.APIKeys, nil
}

// KeyFileOf is the key file that a configuration names, whether it is there or not;
// empty: it names none.
func KeyFileOf(path string, env func(string) (string, bool)) (string, error) {
	data, err := readFile(path, maxFile)
	if err != nil {
		return "", fmt.Errorf("the configuration cannot be read: %w", err)
	}
	c, err := Source{Path: path, Data: data}.parse(env, func(name string, most int) ([]byte, error) {
		data, err := readFile(name, most)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return data, err
	})
	if err != nil {
		return "", err
	}
	return c.keyFileName, nil
}

// ParseExpiry reads a day, a moment, or a time from now; nothing is never.
func ParseExpiry(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := date().parse(s); err == nil {
		return t, nil
	}
	d, err := parseDuration(s)
	if err != nil || d <= 0 {
		return time.Time{}, fmt.Errorf("%q is neither a date like 2027-01-01 or 2027-01-01T12:00:00Z nor a time like 90d", s)
	}
	return now.Add(d).Truncate(time.Second), nil
}
