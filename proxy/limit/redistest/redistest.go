// Package redistest starts a real redis-server for a test.
package redistest

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Server is a redis-server of a test's own, which ends with the test.
type Server struct {
	Addr   string
	Socket string // a second way to the same
	t      testing.TB
	args   []string
	mu     sync.Mutex
	cmd    *exec.Cmd
}

// Start starts a server with nothing in it. A machine without redis-server skips
// the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("there is no redis-server here")
	}
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{Addr: freeAddress(t), Socket: filepath.Join(dir, "s"), t: t}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.args = append([]string{
		"--port", port, "--bind", "127.0.0.1", "--unixsocket", s.Socket, "--save", "", "--appendonly", "no", "--dir", dir, "--loglevel", "notice",
	}, args...)
	s.Begin()
	t.Cleanup(s.End)
	return s
}

// Begin starts the server, again after End.
func (s *Server) Begin() {
	s.t.Helper()
	cmd := exec.Command("redis-server", s.args...) //nolint:gosec,noctx // a test's own program, which Cleanup ends
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	s.cmd = cmd
	s.mu.Unlock()
	said := bufio.NewScanner(out)
	for said.Scan() {
		if strings.Contains(said.Text(), "eady to accept connections") {
			go func() {
				for said.Scan() { // so that it never waits for us
					continue
				}
			}()
			return
		}
	}
	s.t.Fatal("redis-server did not start")
}

// End ends the server; what was in it is gone. A second End is nothing.
func (s *Server) End() {
	s.mu.Lock()
	cmd := s.cmd
	s.cmd = nil
	s.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}
}

// Freeze lets the server hang: connections stay, and nothing is answered.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// URL is what redis.url says.
func (s *Server) URL() string { return "redis://" + s.Addr }

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
