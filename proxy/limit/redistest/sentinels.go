package redistest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Watched is a server and its replica, and three sentinels that put the one in the
// other's place.
type Watched struct {
	Master, Replica *Server
	Sentinels       []*Server
}

// Name is what the sentinels call the server.
const Name = "main"

// StartWatched starts all of them with nothing in them, and waits until they know each
// other.
func StartWatched(t testing.TB) *Watched {
	t.Helper()
	w := &Watched{Master: Start(t, "--repl-diskless-sync-delay", "0")}
	host, port, _ := strings.Cut(w.Master.Addr, ":")
	w.Replica = Start(t, "--repl-diskless-sync-delay", "0", "--replicaof", host+" "+port)
	behind := w.Replica.Client(t)
	until(t, "the replica follows", func(ctx context.Context) bool {
		return strings.Contains(behind.Info(ctx, "replication").Val(), "master_link_status:up")
	})
	const quorum, watching = 2, 3
	for range watching {
		w.Sentinels = append(w.Sentinels, startSentinel(t, fmt.Sprintf("sentinel monitor %s %s %s %d\n", Name, host, port, quorum)))
	}
	for _, s := range w.Sentinels {
		db := s.Client(t)
		until(t, "the sentinels know each other and the replica", func(ctx context.Context) bool {
			said, err := db.Do(ctx, "SENTINEL", "MASTER", Name).Result()
			text := fmt.Sprint(said)
			return err == nil && strings.Contains(text, fmt.Sprint("num-other-sentinels:", watching-1)) && strings.Contains(text, "num-slaves:1")
		})
	}
	return w
}

// startSentinel starts one, which keeps what it knows in a file.
func startSentinel(t testing.TB, monitor string) *Server {
	t.Helper()
	var err error
	for range attempts {
		dir := t.TempDir()
		s := &Server{t: t, program: "redis-server", args: withPorts(t, []string{filepath.Join(dir, "sentinel.conf"), "--sentinel", "--port", Port})}
		s.Addr = "127.0.0.1:" + s.Argument("--port")
		conf := fmt.Sprintf("bind 127.0.0.1\ndir %s\n%ssentinel down-after-milliseconds %s 1000\nsentinel failover-timeout %[3]s 2000\n", dir, monitor, Name)
		if err := os.WriteFile(s.args[0], []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.End)
		if err = s.begin(); err == nil {
			return s
		}
	}
	t.Fatal(err)
	return nil
}

// URL is what redis.url says.
func (w *Watched) URL() string {
	urls := make([]string, 0, len(w.Sentinels))
	for i, s := range w.Sentinels {
		url := s.URL()
		if i == 0 {
			url += "?master_name=" + Name
		}
		urls = append(urls, url)
	}
	return strings.Join(urls, ",")
}
