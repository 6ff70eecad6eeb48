package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlane/cmd/internal/cli"
)

// screen is what a command has printed so far.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// shows waits until what is printed matches, and returns the first group.
func (s *screen) shows(t *testing.T, pattern string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		if m := regexp.MustCompile(pattern).FindStringSubmatch(s.String()); m != nil {
			return m[1]
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never shows %s:\n%s", pattern, s)
		case <-ticker.C:
		}
	}
}

// TestServe is a whole life: from no backend and a small file to a signal.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "fairlane.yaml")
	text := fmt.Sprintf("listen: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\ndata_dir: %q\n", filepath.Join(dir, "data"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds the store of the first
		ctx, signal := context.WithCancel(t.Context())
		var out, complaints screen
		w := &cli.World{Ctx: ctx, Stdout: &out, Stderr: &complaints, Getenv: func(string) (string, bool) { return "", false }}
		code := make(chan int)
		go func() { code <- command().Run(w, []string{"serve", "--config", file}) }()
		base := out.shows(t, `edge +(\S+)/v1`)
		admin := out.shows(t, `admin +(\S+)`)
		resp, err := http.Post(base+"/v1/chat/completions", "application/json", strings.NewReader(`{"messages":[{"role":"user","content":"hi"}],"max_tokens":3}`))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"completion_tokens":3`) {
			t.Errorf("%v %d %s", err, resp.StatusCode, body)
		}
		examine(t, "--config", file, "--edge", base, "--admin", admin)
		signal()
		if c := <-code; c != 0 {
			t.Errorf("ends with %d:\n%s", c, &complaints)
		}
	}
}

// examine runs the doctor until it finds nothing bad, open mode, and the one request.
func examine(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		code, found, complaints := try(t, nil, append([]string{"doctor"}, args...)...)
		if code == 0 && strings.Contains(found, "open mode: nothing is verified") && strings.Contains(found, "callers through open mode: requests: 1") {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("doctor: %d\n%s%s", code, found, complaints)
		}
	}
}

func TestServeWrong(t *testing.T) {
	for name, args := range map[string][]string{
		"no such file":    {"serve", "--config", filepath.Join(t.TempDir(), "none.yaml")},
		"boss":            {"serve", "--roles", "boss"},
		"nats.url":        {"serve", "--roles", "worker"},
		"is not a URL":    {"serve", "--vllm", "gpu-box"},
		"unexpected argu": {"serve", "now"},
	} {
		t.Chdir(t.TempDir()) // none of them gets as far as to make a store
		code, _, complaints := try(t, nil, args...)
		if _, err := os.Stat("data"); err == nil {
			t.Errorf("%v: a store was made", args)
		}
		if code == 0 || !strings.Contains(complaints, name) {
			t.Errorf("%v: %d %q, want %q", args, code, complaints, name)
		}
	}
}

func TestVersion(t *testing.T) {
	if code, out, _ := try(t, nil, "version"); code != 0 || !strings.HasPrefix(out, "fairlane ") || !strings.Contains(out, "go1.") {
		t.Errorf("%d %q", code, out)
	}
}
