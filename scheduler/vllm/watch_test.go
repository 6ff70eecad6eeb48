package vllm

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
	"fairlane/scheduler/vllm/memnet"
)

// watched starts a backend and counts its changes.
func watched(t *testing.T, e *engine, change func(*Config)) (*Backend, *memnet.Net, *atomic.Int32) {
	t.Helper()
	b, m := inMemory(t, e, change)
	var changes atomic.Int32
	b.Start(t.Context(), func() { changes.Add(1) })
	synctest.Wait()
	return b, m, &changes
}

func TestHealth(t *testing.T) {
	for _, tc := range []struct {
		name string
		e    *engine
		key  string
		up   bool
		why  string
	}{
		{"well", &engine{}, "", true, ""},
		{"without /health", &engine{health: status(404)}, "", true, ""},
		{"no content", &engine{health: status(204)}, "", true, ""},
		{"the engine is dead", &engine{health: status(503)}, "", false, "/health answers 503"},
		{"it errs", &engine{health: status(500)}, "", false, "/health answers 500"},
		{"no model", &engine{models: `{"data":[]}`}, "", false, "names no model"},
		{"a model without a name", &engine{models: `{"data":[{"max_model_len":1}]}`}, "", false, "names no model"},
		{"models are no JSON", &engine{models: `<html>`}, "", false, "/v1/models: invalid character"},
		{"too many models", &engine{models: oneModel + strings.Repeat(" ", maxModels)}, "", true, ""},
		{"it hangs", &engine{health: silent}, "", false, "context deadline exceeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, changes := watched(t, tc.e, nil)
				<-time.After(probeTimeout)
				synctest.Wait()
				s := b.Status()
				if s.Up != tc.up || !strings.Contains(s.Detail, tc.why) || (tc.why == "") != (s.Detail == "") || s.URL != "http://gpu:8000" {
					t.Errorf("got %+v", s)
				}
				if got := changes.Load() > 0; got != tc.up {
					t.Errorf("%d changes were told", changes.Load())
				}
			})
		})
	}
}

func TestModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{}
		b, _, changes := watched(t, e, func(c *Config) { c.APIKey = "secret" })
		want := []scheduler.Model{{ID: "tiny", MaxModelLen: 4096, OwnedBy: "vllm", Created: 7}}
		if diff := cmp.Diff(want, b.Status().Models); diff != "" || e.auth != "Bearer secret" || changes.Load() != 1 {
			t.Errorf("%s, %q, %d changes", diff, e.auth, changes.Load())
		}
		e.set(func(e *engine) { e.models = `{"data":[{"id":"tiny"},{"id":"lora"}]}` })
		<-time.After((modelsEvery + 1) * time.Second)
		synctest.Wait()
		if got := names(b.Status().Models); len(got) != 2 || changes.Load() != 2 {
			t.Errorf("models %v, %d changes", got, changes.Load())
		}
		// A list that cannot be read just now is no reason to forget the old one.
		e.set(func(e *engine) { e.models = `?` })
		<-time.After((modelsEvery + 1) * time.Second)
		synctest.Wait()
		if got := names(b.Status().Models); len(got) != 2 || !b.Status().Up || changes.Load() != 2 {
			t.Errorf("models %v, up %v, %d changes", got, b.Status().Up, changes.Load())
		}
		if n := e.asked("/v1/models"); n > 4 {
			t.Errorf("/v1/models was asked %d times", n)
		}
	})
}

func TestAKeyThatIsMissingIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _ := inMemory(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1") {
				w.WriteHeader(http.StatusUnauthorized)
			}
		}), nil)
		b.Start(t.Context(), nil)
		synctest.Wait()
		if s := b.Status(); s.Up || !strings.Contains(s.Detail, "api_key") {
			t.Errorf("got %+v", s)
		}
	})
}

func TestASlowAnswerIsNoDeathAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{}
		b, _, changes := watched(t, e, func(c *Config) { c.Probe = time.Hour })
		e.set(func(e *engine) { e.health = silent })
		for i := range patience {
			if !b.Status().Up {
				t.Fatalf("down after %d slow answers", i)
			}
			b.Look(t.Context())
		}
		if b.Status().Up || changes.Load() != 2 {
			t.Errorf("up after %d slow answers, %d changes", patience, changes.Load())
		}
		e.set(func(e *engine) { e.health = nil })
		if !b.Look(t.Context()).Up {
			t.Error("still down")
		}
		// One good answer in between, and the count begins anew.
		for range 2 * patience {
			e.set(func(e *engine) { e.health = silent })
			if !b.Look(t.Context()).Up {
				t.Fatal("down after one slow answer")
			}
			e.set(func(e *engine) { e.health = nil })
			b.Look(t.Context())
		}
	})
}

func TestADeathIsSeenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m, changes := watched(t, &engine{}, nil)
		m.Die()
		s := b.Look(t.Context())
		if s.Up || !strings.Contains(s.Detail, "not reachable") || changes.Load() != 2 {
			t.Errorf("got %+v, %d changes", s, changes.Load())
		}
	})
}

func TestManyLooksAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{}
		b, _, _ := watched(t, e, func(c *Config) { c.Probe = time.Hour })
		release := make(chan struct{})
		e.set(func(e *engine) { e.health = func(http.ResponseWriter, *http.Request) { <-release } })
		var looks sync.WaitGroup
		for range 64 {
			looks.Go(func() { b.Look(t.Context()) })
		}
		synctest.Wait()
		close(release)
		looks.Wait()
		if n := e.asked("/health"); n > 3 { // at the start, under way, and for all the others
			t.Errorf("64 looks asked %d times", n)
		}
	})
}

func TestLookWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{}
		b, _ := inMemory(t, e, nil)
		if b.Look(t.Context()).Up { // never started: nobody would answer
			t.Error("up without a look")
		}
		b.Start(t.Context(), nil)
		if !b.Look(t.Context()).Up {
			t.Error("not up")
		}
		e.set(func(e *engine) { e.health = silent })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		began := time.Now()
		b.Look(ctx)
		if d := time.Since(began); d != 10*time.Millisecond {
			t.Errorf("waited %v", d)
		}
		b.Stop()
		began = time.Now()
		if b.Look(t.Context()); time.Since(began) != 0 {
			t.Error("waited for a backend that is not watched")
		}
	})
}

func TestStartAndStopTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &engine{}
		b, _ := inMemory(t, e, nil)
		b.Stop()
		for range 2 {
			b.Start(t.Context(), nil)
			b.Start(t.Context(), nil)
			synctest.Wait()
			b.Stop()
			b.Stop()
		}
		n := e.asked("/health")
		<-time.After(time.Minute)
		synctest.Wait()
		if n != 2 || e.asked("/health") != n {
			t.Errorf("asked %d times, then %d", n, e.asked("/health"))
		}
	})
}

func TestStopIsNoDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := &engine{}
		b, _, changes := watched(t, e, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		e.set(func(e *engine) { e.health = silent })
		<-time.After(1500 * time.Millisecond) // a probe is under way
		b.Stop()
		if !b.Status().Up || changes.Load() != 1 || strings.Contains(log.String(), "down") {
			t.Errorf("up %v, %d changes, log: %s", b.Status().Up, changes.Load(), &log)
		}
	})
}

func TestUpAndDownAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := &engine{}
		b, _, _ := watched(t, e, func(c *Config) { c.Logger, c.APIKey = slog.New(slog.NewTextHandler(&log, nil)), "secret" })
		e.set(func(e *engine) { e.health = status(503) })
		<-time.After(5 * time.Second)
		e.set(func(e *engine) { e.health = nil })
		<-time.After(5 * time.Second)
		b.Stop()
		out := log.String()
		if strings.Count(out, "backend is up") != 2 || strings.Count(out, "backend is down") != 1 || strings.Contains(out, "secret") {
			t.Errorf("log:\n%s", out)
		}
	})
}
