package broker

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"fairlane/scheduler"
)

func anyEntry() *rapid.Generator[*scheduler.Entry] {
	id := rapid.StringMatching(`[0-9A-Za-z_-]{5,20}`)
	name := rapid.StringMatching(`[a-z0-9][a-z0-9_-]{0,31}`)
	count := rapid.IntRange(0, math.MaxInt32)
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(0, rapid.Int64Range(1, math.MaxInt64).Draw(t, "ns"))
	})
	return rapid.Custom(func(t *rapid.T) *scheduler.Entry {
		text := rapid.String()
		return &scheduler.Entry{
			ID: id.Draw(t, "id"), Proxy: id.Draw(t, "proxy"),
			Mode: rapid.SampledFrom([]scheduler.Mode{scheduler.ModeSync, scheduler.ModeAsync, scheduler.ModeAttach}).Draw(t, "mode"),
			Pool: name.Draw(t, "pool"), Class: name.Draw(t, "class"), Model: text.Draw(t, "model"), Endpoint: text.Draw(t, "endpoint"),
			Path: text.Draw(t, "path"), Stream: rapid.Bool().Draw(t, "stream"), Group: text.Draw(t, "group"), User: text.Draw(t, "user"),
			UserWeight: rapid.Float64Range(0, 1e9).Draw(t, "weight"), MaxRunning: count.Draw(t, "running"), MaxQueued: count.Draw(t, "queued"),
			Priority: rapid.Int().Draw(t, "priority"), AcceptedAt: at.Draw(t, "accepted"), Deadline: at.Draw(t, "deadline"),
			Sequences: count.Draw(t, "sequences"), InputTokens: count.Draw(t, "input"), MaxTokens: count.Draw(t, "max_tokens"),
			PrefixGroup: rapid.Uint64().Draw(t, "prefix"), Chat: text.Draw(t, "chat"),
		}
	})
}

func TestEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyEntry().Draw(t, "entry")
		h, err := encodeEntry(want)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range h {
			if len(values) != 1 || strings.ContainsAny(values[0], "\r\n") || strings.TrimSpace(values[0]) != values[0] {
				t.Fatalf("header %s can't travel: %q", name, values)
			}
		}
		got, err := decodeEntry(h)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("the entry changed (-want +got):\n%s", diff)
		}
	})
}

func TestAnEntryOfZerosRoundTrips(t *testing.T) {
	want := &scheduler.Entry{ID: "a", Proxy: "b", Mode: scheduler.ModeSync, Pool: "c", Class: "d"}
	h, err := encodeEntry(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeEntry(h); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%+v became %+v, %v", want, got, err)
	}
}

func TestEntryVersions(t *testing.T) {
	for version, want := range map[string]error{"1": nil, "2": nil, "0": ErrVersion, "3": ErrVersion, "": ErrVersion, "x": ErrVersion, "-1": ErrVersion} {
		h, err := encodeEntry(entry("id", "u"))
		if err != nil {
			t.Fatal(err)
		}
		h.Set(headVersion, version)
		h.Set("Fl-Of-The-Future", "ignored")
		if _, err := decodeEntry(h); !errors.Is(err, want) {
			t.Errorf("version %q: %v, want %v", version, err, want)
		}
	}
}

func TestEntriesThatAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(*scheduler.Entry){
		"no id":            func(e *scheduler.Entry) { e.ID = "" },
		"id with a dot":    func(e *scheduler.Entry) { e.ID = "a.b" },
		"no proxy":         func(e *scheduler.Entry) { e.Proxy = "" },
		"pool in capitals": func(e *scheduler.Entry) { e.Pool = "Small" },
		"pool of 33":       func(e *scheduler.Entry) { e.Pool = strings.Repeat("a", 33) },
		"class wildcard":   func(e *scheduler.Entry) { e.Class = "*" },
		"no mode":          func(e *scheduler.Entry) { e.Mode = "" },
		"weight NaN":       func(e *scheduler.Entry) { e.UserWeight = math.NaN() },
		"weight infinite":  func(e *scheduler.Entry) { e.UserWeight = math.Inf(1) },
		"weight negative":  func(e *scheduler.Entry) { e.UserWeight = -1 },
		"sequences":        func(e *scheduler.Entry) { e.Sequences = -1 },
		"queued":           func(e *scheduler.Entry) { e.MaxQueued = -1 },
	} {
		e := entry("id", "u")
		spoil(e)
		if _, err := encodeEntry(e); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	h, err := encodeEntry(entry("id", "user:a b%"))
	if err != nil {
		f.Fatal(err)
	}
	var lines []string
	for name, values := range h {
		lines = append(lines, name+":"+values[0])
	}
	f.Add(strings.Join(lines, "\n"))
	f.Add("Fl-V:1\nFl-User:%zz\nFl-Deadline:9999999999999999999999\nFl-User-Weight:NaN")
	f.Fuzz(func(t *testing.T, text string) {
		h := nats.Header{}
		for line := range strings.SplitSeq(text, "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok {
				h.Add(name, value)
			}
		}
		e, err := decodeEntry(h)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrVersion) {
				t.Fatalf("an error of its own kind: %v", err)
			}
			return
		}
		again, err := encodeEntry(e)
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		if back, err := decodeEntry(again); err != nil || !cmp.Equal(e, back) {
			t.Fatalf("%+v became %+v, %v", e, back, err)
		}
	})
}
