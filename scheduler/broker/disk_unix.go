//go:build unix

package broker

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockDir takes a directory for one process; the kernel lets go when it dies.
func lockDir(dir string) (release func(), err error) {
	f, err := os.Open(dir) //nolint:gosec // the directory that the administrator chose
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}

// freeBytes is the room on the disk of a directory.
func freeBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert,gosec // the types differ between systems; no disk has 8 EB
}
