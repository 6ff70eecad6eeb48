// Package redistest starts real servers for a test: one redis-server, a cluster of
// them, or some with sentinels.
package redistest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server of a test's own, which ends with the test.
type Server struct {
	Addr    string
	Socket  string // a second way to the same
	t       testing.TB
	program string
	args    []string // of the last start
	mu      sync.Mutex
	cmd     *exec.Cmd
}

// Port stands for a free port in an argument of Start; see [Server.Argument].
const Port = "PORT"

// Start starts a server with nothing in it. A machine without redis-server skips
// the test.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartProgram(t, "redis-server", args...)
}

// StartProgram is Start of another program that takes the same arguments.
func StartProgram(t testing.TB, program string, args ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skip("there is no " + program + " here")
	}
	dir, err := os.MkdirTemp("", "redis") //nolint:usetesting // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{Socket: filepath.Join(dir, "s"), t: t, program: program}
	t.Cleanup(s.End)
	for range attempts {
		s.args = withPorts(t, append([]string{
			"--port", Port, "--bind", "127.0.0.1", "--unixsocket", s.Socket, "--save", "", "--appendonly", "no", "--dir", dir, "--loglevel", "notice",
		}, args...))
		s.Addr = "127.0.0.1:" + s.Argument("--port")
		if err = s.begin(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// attempts to find a port: between the look for a free one and the start of the server
// somebody else may take it.
const attempts = 5

// Begin starts the server again after End.
func (s *Server) Begin() {
	s.t.Helper()
	if err := s.begin(); err != nil {
		s.t.Fatal(err)
	}
}

// ready are what servers and sentinels say when they listen.
const ready, watches = "eady to accept connections", "+monitor"

func (s *Server) begin() error {
	cmd := exec.Command(s.program, s.args...) //nolint:gosec,noctx // a test's own program, which Cleanup ends
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.cmd = cmd
	s.mu.Unlock()
	var all strings.Builder
	said := bufio.NewScanner(out)
	for said.Scan() {
		if strings.Contains(said.Text(), ready) || strings.Contains(said.Text(), watches) {
			go func() {
				for said.Scan() { // so that it never waits for us
					continue
				}
			}()
			return nil
		}
		all.WriteString(said.Text() + "\n")
	}
	s.End()
	return fmt.Errorf("%s did not start:\n%s", s.program, all.String())
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

// until asks until it is so.
func until(t testing.TB, what string, so func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !so(ctx) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("never so: " + what)
		}
	}
}

// URL is what redis.url says.
func (s *Server) URL() string { return "redis://" + s.Addr }

// withPorts are arguments with ports, no two the same, that were free a moment ago.
func withPorts(t testing.TB, args []string) []string {
	t.Helper()
	out := slices.Clone(args)
	for i, a := range out {
		if a != Port {
			continue
		}
		l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, out[i], _ = net.SplitHostPort(l.Addr().String())
	}
	return out
}

// Argument is what follows one of the server's arguments.
func (s *Server) Argument(name string) string {
	if i := slices.Index(s.args, name); i >= 0 {
		return s.args[i+1]
	}
	return ""
}

// Client is a connection past all that is under test, which ends with it.
func (s *Server) Client(t testing.TB) *redis.Client {
	t.Helper()
	db := redis.NewClient(&redis.Options{Addr: s.Addr})
	t.Cleanup(func() { _ = db.Close() })
	return db
}
