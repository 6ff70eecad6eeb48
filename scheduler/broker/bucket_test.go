package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler/loop"
)

// holds waits until a bucket has what it should.
func holds(t *testing.T, k *Bucket, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	for ends := time.Now().Add(patience); time.Now().Before(ends); {
		clear(got)
		for name, v := range k.All() {
			got[name] = string(v)
		}
		if cmp.Equal(got, want) {
			return
		}
		loop.Pause(t.Context(), time.Millisecond)
	}
	t.Fatal(cmp.Diff(want, got))
}

// TestBucketIsOneForAll who have the same store, and survives a restart.
func TestBucketIsOneForAll(t *testing.T) {
	t.Parallel()
	outside := startServer(t)
	open := func() (*Broker, *Bucket) {
		b := openBroker(t, Config{URL: outside.url()})
		k, err := b.Bucket(t.Context(), "FL_TEST")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Close)
		return b, k
	}
	_, a := open()
	_, b := open()
	for name, v := range map[string]string{"rate_limit:user:Ann Lee <ann@example.com>": "1", "二": "2", "gone": "3"} {
		if err := a.Put(t.Context(), name, []byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"gone", "never there"} {
		if err := b.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"rate_limit:user:Ann Lee <ann@example.com>": "1", "二": "2"}
	holds(t, a, want)
	holds(t, b, want)
	outside.stop()
	holds(t, a, want)
	outside.start()
	_, c := open()
	holds(t, c, want)
	a.Close()
	a.Close()
}

func TestBucketSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for run := range 2 {
		b := openBroker(t, Config{Dir: dir})
		k, err := b.Bucket(t.Context(), "FL_TEST")
		if err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			if err := k.Put(t.Context(), "name", []byte("v")); err != nil {
				t.Fatal(err)
			}
		}
		holds(t, k, map[string]string{"name": "v"})
		k.Close()
		b.Close()
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := openBroker(t, Config{Dir: dir})
	j, err := b.Journal(t.Context(), "audit", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	last := func(n int) string {
		t.Helper()
		all, err := j.Last(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s", all)
	}
	if got := last(10); got != "[]" {
		t.Errorf("an empty journal has %s", got)
	}
	for i := range 5 {
		if err := j.Append(t.Context(), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := last(3); got != "[4 3 2]" {
		t.Error(got)
	}
	b.Close()
	b = openBroker(t, Config{Dir: dir})
	if j, err = b.Journal(t.Context(), "audit", 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := last(100); got != "[4 3 2 1 0]" {
		t.Error(got)
	}
	if _, err := b.Journal(t.Context(), "No Name", 0); err == nil {
		t.Error("a name that is none was taken")
	}
}
