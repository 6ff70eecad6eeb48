package vllm

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler/vllm/memnet"
)

func real(t *testing.T, h http.HandlerFunc, key string) (*Backend, *httptest.Server) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	b, err := New(Config{URL: srv.URL + "/", APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return b, srv
}

func TestNewRefusesWhatIsNoURL(t *testing.T) {
	for _, u := range []string{"", "gpu:8000", "ftp://gpu", "http://", "http://%zz", "//gpu"} {
		if _, err := New(Config{URL: u}); err == nil || !strings.Contains(err.Error(), "backend") {
			t.Errorf("New(%q): %v", u, err)
		}
	}
	b, err := New(Config{URL: "http://gpu:8000/base/"})
	if err != nil || b.URL() != "http://gpu:8000/base" || b.Host() != "gpu:8000" {
		t.Errorf("got %v, %v", b, err)
	}
	if b.Status().Up || b.Status().Detail == "" {
		t.Errorf("a backend that nobody looked at: %+v", b.Status())
	}
}

func TestDoSendsTheRequestAndNothingOfTheCallers(t *testing.T) {
	type sent struct {
		Method, URI, Body string
		Header            http.Header
	}
	caller := http.Header{
		"Content-Type": {"application/json"}, "Traceparent": {"00-1"},
		"Authorization": {"Bearer of the caller"}, "authorization": {"in lower case"}, "X-Api-Key": {"k"}, "Cookie": {"c"}, "Proxy-Authorization": {"p"},
		"Connection": {"close"}, "Transfer-Encoding": {"chunked"}, "Accept-Encoding": {"gzip"}, "X-Request-Id": {"the client's"}, "X-Vllm-Priority": {"-9"},
	}
	for _, tc := range []struct {
		name, key string
		req       Request
		want      sent
	}{
		{"with a key", "secret", Request{Path: "/v1/x?a=b", Header: caller, Body: []byte(`{}`), ID: "r1-1.1.1", Priority: 0}, sent{"POST", "/v1/x?a=b", "{}", http.Header{
			"Content-Type": {"application/json"}, "Traceparent": {"00-1"}, "Authorization": {"Bearer secret"}, "X-Request-Id": {"r1-1.1.1"}, "X-Vllm-Priority": {"0"},
			"Content-Length": {"2"}, "User-Agent": {"Go-http-client/1.1"},
		}}},
		{"without", "", Request{Method: "GET", Path: "/health", Header: caller, Priority: -1}, sent{"GET", "/health", "", http.Header{
			"Content-Type": {"application/json"}, "Traceparent": {"00-1"}, "User-Agent": {"Go-http-client/1.1"},
		}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := make(chan sent, 1)
			b, _ := real(t, func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got <- sent{r.Method, r.RequestURI, string(body), r.Header}
			}, tc.key)
			before := caller.Clone()
			resp, err := b.Do(t.Context(), tc.req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if diff := cmp.Diff(tc.want, <-got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, caller); diff != "" {
				t.Errorf("the caller's headers were changed: %s", diff)
			}
		})
	}
}

func TestEndingTheContextAbortsTheRequest(t *testing.T) {
	for _, streaming := range []bool{false, true} {
		aborted := make(chan struct{})
		b, _ := real(t, func(w http.ResponseWriter, r *http.Request) {
			if streaming {
				_, _ = io.WriteString(w, "data: 1\n\n")
				_ = http.NewResponseController(w).Flush()
			}
			<-r.Context().Done()
			close(aborted)
		}, "")
		ctx, cancel := context.WithCancel(t.Context())
		if streaming {
			resp, err := b.Do(ctx, Request{Path: "/"})
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if _, err := io.ReadAll(resp.Body); !errors.Is(err, context.Canceled) {
				t.Errorf("read: %v", err)
			}
			resp.Body.Close()
		} else {
			done := make(chan error)
			go func() { _, err := b.Do(ctx, Request{Path: "/"}); done <- err }()
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			select {
			case <-aborted:
			default: // it may not have come that far
				continue
			}
		}
		<-aborted
	}
}

// closedPort is an address at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestOnlyABackendThatHadNothingIsUnreachable(t *testing.T) {
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	untrusted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	breaks := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(breaks.Close)
	for _, tc := range []struct {
		name, url, header string
		unreachable       bool
	}{
		{"nobody listens", "http://" + closedPort(t), "", true},
		{"a certificate that is not trusted", untrusted.URL, "", true},
		{"it hangs up", breaks.URL, "", false},
		{"a header that cannot be sent", breaks.URL, "a\nb", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, err := New(Config{URL: tc.url})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(b.Stop)
			req := Request{Path: "/v1/chat/completions", Body: []byte(`{}`)}
			if tc.header != "" {
				req.Header = http.Header{"Traceparent": {tc.header}}
			}
			_, err = b.Do(t.Context(), req)
			if err == nil || errors.Is(err, ErrUnreachable) != tc.unreachable || errors.Is(err, ErrStale) {
				t.Errorf("got %v", err)
			}
			if err != nil && (!strings.Contains(err.Error(), b.Host()) || strings.Contains(err.Error(), "/v1/")) {
				t.Errorf("it says %q", err)
			}
		})
	}
}

// script is a server that reads a request and then does what it is told with
// the connection.
func script(t *testing.T, accept ...func(c net.Conn, r *bufio.Reader)) *Backend {
	t.Helper()
	m := memnet.New()
	go func() {
		var all sync.WaitGroup
		defer m.Close()
		defer all.Wait()
		for _, f := range accept {
			c, err := m.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				f(c, bufio.NewReader(c))
				_ = c.Close()
			})
		}
	}()
	b, err := New(Config{URL: "http://gpu", Dial: m.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.Stop()
		_ = m.Close()
	})
	return b
}

// take reads a request and answers it, so that its connection is kept.
func take(c net.Conn, r *bufio.Reader) {
	read(r)
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

func read(r *bufio.Reader) {
	if req, err := http.ReadRequest(r); err == nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
}

func call(t *testing.T, b *Backend) (string, error) {
	t.Helper()
	resp, err := b.Do(t.Context(), Request{Path: "/", Body: []byte("once")})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	<-time.After(time.Millisecond) // so that the connection is kept
	return string(body), err
}

func TestAKeptConnectionThatWasClosedCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := script(t,
			func(c net.Conn, r *bufio.Reader) { take(c, r); read(r) }, // reads the second request, and hangs up
			take)
		for range 2 {
			if got, err := call(t, b); got != "ok" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
	})
}

func TestWhereOneConnectionWasClosedTheOthersWereToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slowly := func(c net.Conn, r *bufio.Reader) {
			read(r)
			<-time.After(time.Second)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			read(r)
		}
		b := script(t, slowly, slowly, slowly, take)
		var first sync.WaitGroup
		for range 3 {
			first.Go(func() { _, _ = call(t, b) })
		}
		first.Wait()
		if got, err := call(t, b); got != "ok" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestAConnectionThatBreaksLaterIsNoStaleOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := script(t,
			func(c net.Conn, r *bufio.Reader) {
				take(c, r)
				read(r)
				<-time.After(time.Second) // at work
			}, take)
		_, _ = call(t, b)
		if _, err := call(t, b); err == nil || errors.Is(err, ErrStale) || errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	})
}

func TestABackendThatAnsweredHalfIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := script(t,
			func(c net.Conn, r *bufio.Reader) {
				take(c, r)
				read(r)
				_, _ = io.WriteString(c, "HTTP/1.1 200 ")
			}, take)
		_, _ = call(t, b)
		if _, err := call(t, b); err == nil || errors.Is(err, ErrStale) || errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAStaleConnectionOfABackendThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := script(t, func(c net.Conn, r *bufio.Reader) { take(c, r); read(r) })
		_, _ = call(t, b)
		if _, err := call(t, b); !errors.Is(err, ErrStale) || errors.Is(err, ErrUnreachable) {
			t.Errorf("got %v", err)
		}
	})
}

func TestIdleConnectionsAreDroppedBeforeTheBackendDropsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{answer: status(http.StatusOK)}
		b, m := inMemory(t, e, nil)
		do := func() {
			resp, err := b.Do(t.Context(), Request{Path: "/", Body: []byte("{}")})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			synctest.Wait()
		}
		for _, step := range []struct {
			idle  time.Duration
			dials int
		}{{0, 1}, {3900 * time.Millisecond, 1}, {4100 * time.Millisecond, 2}, {time.Second, 2}} {
			<-time.After(step.idle)
			do()
			if n := m.Dials(); n != step.dials {
				t.Errorf("after %v idle: %d connections so far, want %d", step.idle, n, step.dials)
			}
		}
	})
}

func TestRedirectsAreAnswers(t *testing.T) {
	b, _ := real(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}, "")
	resp, err := b.Do(t.Context(), Request{Path: "/"})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("got %d", resp.StatusCode)
	}
}
