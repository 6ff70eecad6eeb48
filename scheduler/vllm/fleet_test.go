package vllm

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"fairlane/scheduler"
	"fairlane/scheduler/vllm/memnet"
)

// fleet is a fleet of backends that all are the same engine.
func fleet(t *testing.T, e *engine) (*Fleet, func(urls ...string) []Config) {
	t.Helper()
	m := memnet.New()
	serve(t, m, e)
	f := NewFleet()
	t.Cleanup(f.Stop)
	return f, func(urls ...string) []Config {
		var out []Config
		for _, u := range urls {
			out = append(out, Config{URL: u, Dial: m.Dial})
		}
		return out
	}
}

func TestFleetGoesOnWithWhatIsUnchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{answer: func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, "rest")
		}}
		f, at := fleet(t, e)
		var changes atomic.Int32
		f.Start(t.Context(), func() {
			changes.Add(1)
			f.Backends("main") // who is told asks
		})
		if err := f.Apply("main", at("http://a", "http://b/")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a, b := f.Backend("main", "http://a"), f.Backend("main", "http://b")
		if a == nil || b == nil || !a.Status().Up || !b.Status().Up || changes.Load() != 2 {
			t.Fatalf("a %v, b %v, %d changes", a, b, changes.Load())
		}
		resp, err := a.Do(t.Context(), Request{Path: "/long"})
		if err != nil {
			t.Fatal(err)
		}

		next := at("http://b", "http://c")
		next[1].APIKey = "new"
		if err := f.Apply("main", next); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if f.Backend("main", "http://b") != b || f.Backend("main", "http://a") != nil {
			t.Error("the unchanged backend was replaced, or the removed one is still there")
		}
		if !f.Backend("main", "http://c").Status().Up {
			t.Error("the new one is not watched")
		}
		if body, err := io.ReadAll(resp.Body); string(body) != "rest" || err != nil {
			t.Errorf("the removed backend's call ended with %q, %v", body, err)
		}
		resp.Body.Close()
		seen := e.asked("/health")
		if a.Look(t.Context()); e.asked("/health") != seen {
			t.Error("the removed backend is still watched")
		}

		next[1].APIKey = "newer"
		c := f.Backend("main", "http://c")
		if err := f.Apply("main", next); err != nil || f.Backend("main", "http://c") == c {
			t.Errorf("a new key changed nothing, %v", err)
		}
	})
}

func TestFleetKeepsWhatItHasWhenTheNewIsWrong(t *testing.T) {
	f, at := fleet(t, &engine{})
	if err := f.Apply("main", at("http://a")); err != nil {
		t.Fatal(err)
	}
	if err := f.Apply("main", at("http://b", "nonsense")); err == nil {
		t.Error("it took nonsense")
	}
	if f.Backend("main", "http://a") == nil || f.Backend("main", "http://b") != nil {
		t.Error("the old backends are gone")
	}
	if f.Backend("other", "http://a") != nil || f.Statuses("other") == nil || len(f.Statuses("other")) != 0 {
		t.Error("a pool that is not there has backends")
	}
}

func TestFleetStartsAndStopsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{}
		f, at := fleet(t, e)
		f.Stop()
		if err := f.Apply("main", at("http://a")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if e.asked("/health") != 0 {
			t.Error("watched before it was started")
		}
		for range 2 {
			f.Start(t.Context(), nil)
			f.Start(t.Context(), func() { t.Error("a second start is nothing") })
			synctest.Wait()
			f.Stop()
			f.Stop()
		}
		if n := e.asked("/health"); n != 2 {
			t.Errorf("asked %d times", n)
		}
		want := scheduler.BackendStatus{URL: "http://a", Up: true}
		if got := f.Statuses("main"); len(got) != 1 || got[0].URL != want.URL || !got[0].Up {
			t.Errorf("got %+v", got)
		}
	})
}

// A change is told from the watching goroutine, and who is told asks the fleet:
// Stop must not hold its lock then.
func TestFleetStopsWhileAChangeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, at := fleet(t, &engine{})
		if err := f.Apply("main", at("http://a")); err != nil {
			t.Fatal(err)
		}
		told, stopping := make(chan struct{}), make(chan struct{})
		f.Start(t.Context(), func() {
			close(told)
			<-stopping
			f.Statuses("main")
		})
		<-told
		done := make(chan struct{})
		go func() { f.Stop(); close(done) }()
		synctest.Wait()
		close(stopping)
		<-done
	})
}
