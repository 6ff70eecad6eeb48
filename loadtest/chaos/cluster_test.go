package chaos

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const config = `
listen: "127.0.0.1:${EDGE}"
admin: {listen: "127.0.0.1:${ADMIN}"}
data_dir: "${DATA}"
nats: {url: "${NATS}"}
pools:
  - name: main
    backends: [{url: "${BACKEND}", slots: 8}]
policy:
  - {limits: "100000/minute", max_running: 0, max_queued: 100000}
log: {level: info}
`

// cluster is an installation of processes. Everything dies with the test.
type cluster struct {
	t      *testing.T
	bin    string
	dir    string
	nats   string
	model  string // base URL of the emulated vLLM
	config string
}

// process is one part of it.
type process struct {
	name  string
	cmd   *exec.Cmd
	edge  string
	admin string
	gone  chan struct{}
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir()}
	c.bin = filepath.Join(c.dir, "fairlane")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", c.bin, "fairlane/cmd/fairlane")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	c.config = filepath.Join(c.dir, "fairlane.yaml")
	if err := os.WriteFile(c.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c.nats = startNATS(t, filepath.Join(c.dir, "jetstream"))
	addr := freeAddr(t)
	c.model = "http://" + addr
	c.start("emulator", nil, "emulate", "--listen", addr, "--profile", "tiny-cpu", "--speed", "0.1")
	c.waitFor(c.model + "/health")
	return c
}

func startNATS(t *testing.T, dir string) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("NATS did not come up")
	}
	return s.ClientURL()
}

// role starts a process with the given roles.
func (c *cluster) role(name, roles string) *process {
	c.t.Helper()
	edge, admin := freeAddr(c.t), freeAddr(c.t)
	env := []string{
		"EDGE=" + port(edge), "ADMIN=" + port(admin), "DATA=" + filepath.Join(c.dir, name),
		"NATS=" + c.nats, "BACKEND=" + c.model,
	}
	p := c.start(name, env, "serve", "--config", c.config, "--roles", roles)
	p.edge, p.admin = "http://"+edge, "http://"+admin
	c.waitFor(p.admin + "/healthz")
	return p
}

func (c *cluster) start(name string, env []string, args ...string) *process {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.dir, name+".log"))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(c.bin, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	p := &process{name: name, cmd: cmd, gone: make(chan struct{})}
	go func() { defer close(p.gone); _ = cmd.Wait(); log.Close() }()
	c.t.Cleanup(func() {
		p.kill()
		if c.t.Failed() {
			c.tail(name)
		}
	})
	return p
}

// tail shows the end of a process's log.
func (c *cluster) tail(name string) {
	b, err := os.ReadFile(filepath.Join(c.dir, name+".log"))
	if err == nil {
		c.t.Logf("--- %s\n%s", name, b[max(0, len(b)-3000):])
	}
}

func (p *process) kill()   { _ = p.cmd.Process.Kill(); <-p.gone }
func (p *process) freeze() { _ = p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) thaw()   { _ = p.cmd.Process.Signal(syscall.SIGCONT) }

func (c *cluster) waitFor(url string) {
	c.t.Helper()
	c.until(20*time.Second, url+" answers", func() bool {
		code, _ := get(url)
		return code == http.StatusOK
	})
}

// until polls for a condition that real processes bring about.
func (c *cluster) until(patience time.Duration, what string, ok func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			c.t.Fatalf("not within %s: %s", patience, what)
		case <-ticker.C:
		}
	}
}

// metric is the sum of a metric's samples at a process; -1 if it is not there.
func (p *process) metric(name string) float64 {
	_, body := get(p.admin + "/metrics")
	found := regexp.MustCompile(`(?m)^`+name+`(?:\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(body, -1)
	if found == nil {
		return -1
	}
	sum := 0.0
	for _, m := range found {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return -1
		}
		sum += v
	}
	return sum
}

func get(url string) (int, string) {
	client := &http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func port(addr string) string {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Sprint(err)
	}
	return p
}

// left is the number of entries in the pool's stream.
func (c *cluster) left() uint64 {
	c.t.Helper()
	nc, err := nats.Connect(c.nats)
	if err != nil {
		c.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := js.Stream(c.t.Context(), "FL_main")
	if err != nil {
		c.t.Fatal(err)
	}
	info, err := s.Info(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return info.State.Msgs
}
