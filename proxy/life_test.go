package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/scheduler"
)

func TestStopRefusesWhatWaitsAndFinishesWhatRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		calls := make(chan *fakeCall, 2)
		f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return <-calls, nil }
		s := f.server(t, Config{Grace: time.Minute})
		c, _ := start(t, s)
		answers := make(chan string, 2)
		send := func(call *fakeCall) {
			calls <- call
			go func() {
				resp, err := c.Post("http://edge"+chatPath, "application/json", strings.NewReader(chatBody))
				if err != nil {
					answers <- err.Error()
					return
				}
				defer resp.Body.Close()
				b, _ := io.ReadAll(resp.Body)
				answers <- resp.Status + resp.Header.Get("Retry-After") + string(b)
			}()
			synctest.Wait()
		}
		waits, runs := newFakeCall(), newFakeCall()
		send(waits)
		runs.events <- granted()
		send(runs)

		stopped := make(chan struct{})
		go func() { defer close(stopped); s.Stop(context.Background()) }()
		if got := <-answers; !strings.HasPrefix(got, "503 Service Unavailable5") || !strings.Contains(got, "shutting_down") {
			t.Errorf("what waited: %s", got)
		}
		<-waits.cancelled
		<-time.After(30 * time.Second)
		select {
		case <-stopped:
			t.Error("it stopped while something ran")
		default:
		}
		for _, ev := range []scheduler.CallEvent{head(200, "application/json"), data("{}"), end(scheduler.Completed)} {
			runs.events <- ev
		}
		if got := <-answers; got != "200 OK{}" {
			t.Errorf("what ran: %s", got)
		}
		<-stopped
		s.Stop(context.Background())
		if w := ask(s, "POST", chatPath, chatBody); w.Code != 503 {
			t.Errorf("afterwards %d", w.Code)
		}
	})
}

// TestStopEndsWhatTakesTooLong has a whole answer and a stream that do not end, and
// somebody who comes meanwhile.
func TestStopEndsWhatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		whole, stream := newFakeCall(granted()), newFakeCall(granted(), head(200, sse), data(chunk))
		calls := []scheduler.Call{whole, stream}
		f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) {
			c := calls[0]
			calls = calls[1:]
			return c, nil
		}
		s := f.server(t, Config{Grace: time.Minute})
		c, _ := start(t, s)
		post := func(body string) chan string {
			got := make(chan string, 1)
			go func() {
				resp, err := c.Post("http://edge"+chatPath, "application/json", strings.NewReader(body))
				if err != nil {
					got <- err.Error()
					return
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				got <- fmt.Sprint(resp.StatusCode, " ", string(b), err)
			}()
			synctest.Wait()
			return got
		}
		wholes, streams := post(chatBody), post(streamBody)
		began := time.Now()
		stopped := make(chan struct{})
		go func() { defer close(stopped); s.Stop(context.Background()) }()
		synctest.Wait()
		if got := <-post(chatBody); !strings.HasPrefix(got, "503 ") || !strings.Contains(got, "shutting_down") {
			t.Errorf("who came meanwhile got %s", got)
		}
		if resp, err := c.Get("http://edge/readyz"); err != nil {
			t.Error(err)
		} else if resp.Body.Close(); resp.StatusCode != 503 {
			t.Errorf("/readyz answers %d", resp.StatusCode)
		}
		<-stopped
		if took := time.Since(began); took < time.Minute || took > time.Minute+lastWords {
			t.Errorf("it took %s", took)
		}
		if got := <-wholes; !strings.HasPrefix(got, "503 ") || !strings.Contains(got, "shutting_down") {
			t.Errorf("the whole answer: %s", got)
		}
		if got := <-streams; !strings.HasPrefix(got, "200 "+chunk) || !strings.Contains(got, "shutting_down") || strings.Contains(got, "[DONE]") {
			t.Errorf("the stream: %s", got)
		}
		synctest.Wait()
		if n := f.counted(t, "fairlane_requests_total", map[string]string{"outcome": "refused"}); n != 3 {
			t.Errorf("%v were refused", n)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	for want, cfg := range map[string]Config{
		"queue.max_bytes":   {MaxBody: 10, MaxBytes: 5},
		"http.cors_origins": {CORSOrigins: []string{"example.com"}},
		"impossible":        {Idle: -1},
	} {
		if _, err := New(cfg, Deps{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	reg := prometheus.NewRegistry()
	if _, err := New(Config{}, Deps{Metrics: reg}); err != nil {
		t.Error(err)
	}
	if _, err := New(Config{}, Deps{Metrics: reg}); err == nil {
		t.Error("metrics were registered twice")
	}
}

func TestStartListens(t *testing.T) {
	f := newFakes()
	s := f.server(t, Config{Listen: "127.0.0.1:0"})
	for range 2 {
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.Get("http://" + s.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	taken := newFakes().server(t, Config{Listen: s.Addr().String()})
	if err := taken.Start(t.Context()); !errors.As(err, new(*net.OpError)) {
		t.Errorf("got %v", err)
	}
	s.Stop(t.Context())
	s.Stop(t.Context())
	if s.Addr() != nil {
		t.Error("it still has an address")
	}
}
