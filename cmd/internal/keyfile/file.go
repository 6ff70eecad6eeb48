package keyfile

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"fairlane/cmd/internal/config"
	"fairlane/proxy/identity"
)

// File is a file of keys. It need not be there yet.
type File struct {
	Path string
	Env  func(string) (string, bool) // for ${…} in it; nil: nothing is set
}

// prefix lets people, and scanners of sources, see what a key is for.
const prefix = "fl-"

// Create adds a key and returns it. Its SHA256 is filled in here.
func (f File) Create(k identity.Key) (secret string, err error) {
	secret = prefix + rand.Text()
	sum := sha256.Sum256([]byte(secret))
	k.SHA256 = hex.EncodeToString(sum[:])
	err = f.change(func(data []byte, keys []identity.Key) ([]byte, error) {
		if slices.ContainsFunc(keys, func(old identity.Key) bool { return old.ID == k.ID }) {
			return nil, fmt.Errorf("there is a key %q already: revoke it, or take another --id", k.ID)
		}
		return add(data, k)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// Revoke takes a key out.
func (f File) Revoke(id string) error {
	return f.change(func(data []byte, keys []identity.Key) ([]byte, error) {
		at := slices.IndexFunc(keys, func(k identity.Key) bool { return k.ID == id })
		if at < 0 {
			return nil, fmt.Errorf("there is no key %q in %s", id, f.Path)
		}
		return remove(data, at)
	})
}

// List is what is in the file.
func (f File) List() ([]identity.Key, error) {
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, fmt.Errorf("the key file cannot be read: %w", err)
	}
	return config.Keys(data, f.Path, f.Env)
}

// change replaces the file by what edit makes of it, if that can be read again.
func (f File) change(edit func([]byte, []identity.Key) ([]byte, error)) error {
	path := f.Path
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a link stays one
	}
	unlock, err := lock(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer unlock()
	data, err := os.ReadFile(path) //nolint:gosec // the administrator names it
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the key file cannot be read: %w", err)
	}
	keys, err := config.Keys(data, f.Path, f.Env)
	if err != nil {
		return fmt.Errorf("mend the key file first: %w", err)
	}
	next, err := edit(data, keys)
	if err != nil {
		return err
	}
	if _, err := config.Keys(next, f.Path, f.Env); err != nil {
		return fmt.Errorf("nothing was changed, for the file would be wrong then: %w", err)
	}
	return replace(path, next)
}

// lock waits until nobody else changes a file of the directory.
func lock(dir string) (unlock func(), err error) {
	d, err := os.Open(dir) //nolint:gosec // the administrator names it
	if err != nil {
		return nil, fmt.Errorf("the directory of the key file: %w", err)
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { _ = d.Close() }, nil
}

// replace writes a file anew, in one step. It belongs to whom it belonged to, or to
// whom its directory does.
func replace(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	t, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // of mode 0600
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	defer func() {
		_ = t.Close()
		if err != nil {
			_ = os.Remove(t.Name())
			err = fmt.Errorf("write the key file: %w", err)
		}
	}()
	if err := own(t, path, dir); err != nil {
		return err
	}
	if _, err := t.Write(data); err != nil {
		return err
	}
	if err := t.Sync(); err != nil {
		return err
	}
	return os.Rename(t.Name(), path)
}

// own gives the new file to the owner of the old one: else fairlane, which may be
// somebody else than who changes the file, could not read it.
func own(t *os.File, path, dir string) error {
	info, err := os.Stat(path)
	if err != nil {
		if info, err = os.Stat(dir); err != nil {
			return err
		}
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(s.Uid) == os.Geteuid() {
		return nil
	}
	return t.Chown(int(s.Uid), int(s.Gid))
}
