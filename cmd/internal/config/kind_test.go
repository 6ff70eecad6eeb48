package config

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSizesAndTimes(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "512KB": 512 << 10, "8MB": 8 << 20, "1GB": 1 << 30, "1 gb": 1 << 30, "3kib": 3 << 10, "2MiB": 2 << 20, "1GiB": 1 << 30, "7B": 7,
		"0": -1, "": -1, "MB": -1, "-1MB": -1, "1.5MB": -1, "1TB": -1, "1MBB": -1, "9223372036854775807": 1<<63 - 1, "8589934592GB": -1, "1e3": -1,
	} {
		got, err := size().parse(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]time.Duration{
		"0": 0, "1ms": time.Millisecond, "1h30m": 90 * time.Minute, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "365d": 8760 * time.Hour, "0.5h": 30 * time.Minute,
		"": -1, "5": -1, "d": -1, "1d24h": -1, "1d-1h": -1, "-1s": -1, "1.5d": -1, "99999d": -1, "1d 2h": -1,
	} {
		got, err := duration(0).parse(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := positive().parse("0s"); err == nil {
		t.Error("0s is positive")
	}
}

// What Describe shows can be written into a file.
func TestShownIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Int64Range(1, 1<<40), rapid.Map(rapid.Int64Range(1, 1<<20), func(n int64) int64 { return n << 20 })).Draw(t, "size")
		if got, err := size().parse(showSize(n)); err != nil || got != n {
			t.Fatalf("%d is shown as %s and read as %d, %v", n, showSize(n), got, err)
		}
		unit := rapid.SampledFrom([]time.Duration{1, time.Millisecond, time.Second, time.Minute, time.Hour, day}).Draw(t, "unit")
		d := time.Duration(rapid.Int64Range(0, 1000).Draw(t, "time")) * unit
		if got, err := duration(0).parse(showDuration(d)); err != nil || got != d {
			t.Fatalf("%v is shown as %s and read as %v, %v", d, showDuration(d), got, err)
		}
	})
}

func TestNearest(t *testing.T) {
	known := []string{"max_wait", "max_queued", "weight", "headroom", "codel", "user", "role"}
	for word, want := range map[string]string{
		"max_wiat": "max_wait", "maxWait": "max_wait", "Max-Queued": "max_queued", "wait": "", "wieght": "weight", "weights": "weight",
		"rol": "role", "usr": "user", "codle": "codel", "x": "", "": "", "something_else_altogether_that_goes_on_and_on": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// A short key begins many words that have nothing to do with it.
func TestNearestIsNoShortBeginning(t *testing.T) {
	if got := nearest("key_algorithms", []string{"key"}); got != "" {
		t.Error(got)
	}
}

func TestDistance(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "abd", 1}, {"abc", "ab", 1}, {"abc", "xabc", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("%q, %q: %d, want %d", tc.a, tc.b, got, tc.want)
		}
		if got := distance(tc.b, tc.a); got != tc.want {
			t.Errorf("%q, %q: %d, want %d", tc.b, tc.a, got, tc.want)
		}
	}
}

// A URL is told only as far as it can hold no password.
func TestURLsInMessages(t *testing.T) {
	for text, want := range map[string]string{
		"nats: {url: 'nats://:pa55word'}":                                "found something else",
		"redis: {url: 'redis//:pa55word@r'}":                             "found something else",
		"identity: {jwt: [{name: a, jwks_url: 'https://u:pa55word@h'}]}": "found something else",
		"pools: [{backends: [{url: 'https://u:pa55word@h'}]}]":           "found something else",
		"pools: [{backends: [{url: 'gpu:8000'}]}]":                       `found "gpu:8000"`,
		"pools: [{backends: [{url: 'http://gpu?a=b'}]}]":                 `found "http://gpu?a=b"`,
		"tracing: {otlp_endpoint: 'otel:1'}":                             `found "otel:1"`,
	} {
		_, err := Parse([]byte(text), "x.yaml", nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pa55word") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for in, want := range map[string]string{
		"nats://a:4222":                       "nats://a:4222",
		"nats://u:pa55word@a:4222, tls://t@b": "nats://xxxxx@a:4222,tls://xxxxx@b",
		"redis://:pa55word@r":                 "redis://xxxxx@r",
		"nats://a, %zz://pa55word":            "nats://a,(hidden)",
	} {
		if got := redacted(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// What was filled in is found in every spelling that messages have.
func TestScrub(t *testing.T) {
	r := &reader{}
	for _, secret := range []string{"pass", "password", "qu\"ote\n", "abc"} {
		r.hide(secret)
	}
	for in, want := range map[string]string{
		"the password of a pass":      "the (hidden) of a (hidden)",
		`found "qu\"ote\n"`:           `found "(hidden)"`,
		"found qu\"ote\n there":       "found (hidden) there",
		"abc is too short to be told": "abc is too short to be told",
	} {
		if got := r.scrub(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A secret is hidden also where it stands a second time, under a key that is none.
func TestSecretElsewhere(t *testing.T) {
	_, err := Parse([]byte("nats: {encryption_key: sesame}\ndefault_class: sesame\n"), "x.yaml", nil)
	if err == nil || strings.Contains(err.Error(), "sesame") {
		t.Error(err)
	}
}

func TestClip(t *testing.T) {
	long := strings.Repeat("é", 60)
	if got := clip(long); len(got) > 90 || !strings.HasPrefix(got, "éé") || !strings.HasSuffix(got, "é…") {
		t.Errorf("%q", got)
	}
	if got := clip("short"); got != "short" {
		t.Errorf("%q", got)
	}
}
