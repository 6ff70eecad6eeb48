package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/proxy/identity"
	"fairlane/scheduler"
)

func TestSlowBodies(t *testing.T) {
	for name, first := range map[string]string{
		"known length":   "POST /v1/chat/completions HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\"",
		"unknown length": "POST /v1/chat/completions HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				_, m := start(t, f.server(t, Config{ReadBody: 30 * time.Second}))
				conn, err := m.dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if _, err := io.WriteString(conn, first); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				reply := readAll(t, conn)
				if !strings.HasPrefix(reply, "HTTP/1.1 408 ") || !strings.Contains(reply, `"code":"request_timeout"`) || !strings.Contains(reply, "Connection: close") {
					t.Errorf("%s", reply)
				}
				if took := time.Since(began); took != 30*time.Second {
					t.Errorf("after %s", took)
				}
				f.once(t, scheduler.Invalid)
			})
		})
	}
}

// A body that is not wanted is not waited for either: net/http reads what is
// left of it before it lets go of the connection.
func TestSlowBodiesOfRefusedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.identify = func(*http.Request) (*identity.Identity, *scheduler.Problem) {
			return nil, scheduler.Problemf(scheduler.CodeInvalidAPIKey, "no such key")
		}
		_, m := start(t, f.server(t, Config{ReadBody: 30 * time.Second}))
		conn, err := m.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: edge\r\nContent-Length: 100\r\n\r\n{")
		began := time.Now()
		if reply := readAll(t, conn); !strings.HasPrefix(reply, "HTTP/1.1 401 ") {
			t.Errorf("%s", reply)
		}
		if held := time.Since(began); held > 31*time.Second {
			t.Errorf("the connection was held for %s", held)
		}
	})
}

func TestBodiesOfUnknownLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		f.answers(head(200, "application/json"), data("{}"), end(scheduler.Completed))
		s := f.server(t, Config{MaxBody: 100_000, MaxBytes: 100_000})
		c, _ := start(t, s)
		for size, status := range map[int]int{50: 200, 20_000: 200, 99_900: 200, 100_001: 413, 500_000: 413} {
			body := `{"model":"gpt","messages":[{"content":"` + strings.Repeat("x", size-42) + `"}]}`
			resp, err := c.Post("http://edge"+chatPath, "application/json", io.MultiReader(strings.NewReader(body)))
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != status {
				t.Errorf("%d bytes: %d", len(body), resp.StatusCode)
			}
			readAll(t, resp.Body)
			resp.Body.Close()
			synctest.Wait()
			if held := s.held.held.Load(); held != 0 {
				t.Errorf("%d bytes are still held", held)
			}
		}
	})
}

func TestClientLeavesWhileItSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		s := f.server(t, Config{})
		_, m := start(t, s)
		conn, err := m.dial()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: edge\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
		synctest.Wait()
		conn.Close()
		synctest.Wait()
		if n := len(f.log.requests()); n != 1 {
			t.Errorf("%d lines", n)
		}
		if held := s.held.held.Load(); held != 0 {
			t.Errorf("%d bytes are still held", held)
		}
	})
}
