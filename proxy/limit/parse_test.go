package limit

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

const day = 24 * time.Hour

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]Limit{
		"":                           nil,
		" \t ":                       nil,
		"30/minute":                  {{30, time.Minute, 30}},
		"10 per hour":                {{10, time.Hour, 10}},
		"10perhour":                  {{10, time.Hour, 10}},
		"  10  PER  2  Hours  ":      {{10, 2 * time.Hour, 10}},
		"100/day, 500/7days":         {{100, day, 100}, {500, 7 * day, 500}},
		"5/second;30/minute":         {{5, time.Second, 5}, {30, time.Minute, 30}},
		"1/month|2 / year":           {{1, 30 * day, 1}, {2, 360 * day, 2}},
		"30/minute burst 5":          {{30, time.Minute, 5}},
		"30/minute BURST 50 ; 1/day": {{30, time.Minute, 50}, {1, day, 1}},
		"007/SECONDS":                {{7, time.Second, 7}},
		"5/1second, 6/1second":       {{5, time.Second, 5}, {6, time.Second, 6}},
		"1/100 years":                {{1, 36000 * day, 1}},
		"1000000000000/second":       {{1e12, time.Second, 1e12}},
	} {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: -want +got\n%s", text, diff)
		}
	}
}

func TestParseSaysWhere(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text     string
		at       int
		expected string // a part of the message
		found    string
	}{
		{";", 1, "a whole number", `";"`},
		{"5/second;", 10, "a whole number", "the end"},
		{"5/second;;6/minute", 10, "a whole number", `";"`},
		{", 5/second", 1, "a whole number", `","`},
		{"1.5/minute", 2, `"/" or "per"`, `"."`},
		{"-5/minute", 1, "a whole number", `"-"`},
		{"+5/minute", 1, "a whole number", `"+"`},
		{"0/minute", 1, "a number from 1 (1/year is next to nothing; who is to be locked out loses their key or account)", `"0"`},
		{"5/minute; 000/hour", 11, "who is to be locked out", `"000"`},
		{"99999999999999999999/minute", 1, "a number from 1 to 1000000000000", `"99999999999999999999"`},
		{"1000000000001/minute", 1, "a number from 1 to 1000000000000", `"1000000000001"`},
		{"1/sec", 3, "second, minute, hour", `"sec"`},
		{"5/week", 3, "second, minute, hour", `"week"`},
		{"5/minutely", 3, "second, minute, hour", `"minutely"`},
		{"5/", 3, "second, minute, hour", "the end"},
		{"5", 2, `"/" or "per"`, "the end"},
		{"5 minute", 3, `"/" or "per"`, `"minute"`},
		{"5 a minute", 3, `"/" or "per"`, `"a"`},
		{"five/minute", 1, "a whole number", `"five"`},
		{"5/0 minutes", 3, "a number from 1", `"0"`},
		{"5/1.5 minutes", 4, "second, minute, hour", `"."`},
		{"5/minute 3", 10, `"burst"`, `"3"`},
		{"5/minute 3/hour", 10, `"burst"`, `"3"`},
		{"5/minute burst", 15, "burst 5", "the end"},
		{"5/minute burst 0", 16, "a number from 1", `"0"`},
		{"5/minute burst -1", 16, "burst 5", `"-"`},
		{"5/minute burst 3 4", 18, "a separator", `"4"`},
		{"5/minute burst 3 burst 4", 18, "a separator", `"burst"`},
		{"5/101 years", 3, "100 years", `"101"`},
		{"5/second, 1/year burst 1000", 11, "100 years to fill", `"1"`},
		{"五/minute", 1, "a whole number", `"五"`},
		{"5/minute; 6/分", 13, "second, minute", `"分"`},
		{"5/\xff", 3, "second", `"\xff"`},
	}
	for _, tt := range tests {
		_, err := Parse(tt.text)
		e, ok := errors.AsType[*SyntaxError](err)
		if !ok {
			t.Errorf("%q: error %v", tt.text, err)
			continue
		}
		if e.At != tt.at || !strings.Contains(e.Expected, tt.expected) || !strings.HasSuffix(e.Error(), ", found "+tt.found) {
			t.Errorf("%q: at %d, want %d: %v", tt.text, e.At, tt.at, err)
		}
	}
	if _, err := Parse(strings.Repeat("9", 1<<20)); len(err.Error()) > 500 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestLimitString(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]Limit{
		"30/minute":         {30, time.Minute, 30},
		"500/7 days":        {500, 7 * day, 500},
		"1/month":           {1, 30 * day, 1},
		"1/2 years burst 3": {1, 720 * day, 3},
		"90/90 seconds":     {90, 90 * time.Second, 90},
		"2/1.5s":            {2, 1500 * time.Millisecond, 2},
	} {
		if got := l.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func join(all []Limit) string {
	words := make([]string, len(all))
	for i, l := range all {
		words[i] = l.String()
	}
	return strings.Join(words, "; ")
}

func TestParseRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Limit {
			l := Limit{N: rapid.Int64Range(1, most).Draw(t, "n"), Period: time.Duration(rapid.Int64Range(1, int64(longest/time.Second)).Draw(t, "s")) * time.Second}
			l.Burst = l.N
			if rapid.Bool().Draw(t, "burst") {
				l.Burst = rapid.Int64Range(1, l.N).Draw(t, "b")
			}
			return l
		}), 1, 5).Draw(t, "limits")
		got, err := Parse(join(want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "30/minute", "10 per hour", "100/day, 500/7days", "5/second;30/minute", "30/minute burst 5", "1/sec", "5/week", "1.5/day", "9/9 years|", "\xff/minute"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all, err := Parse(s)
		if err != nil {
			if e, ok := errors.AsType[*SyntaxError](err); !ok || e.At < 1 || e.At > len(s)+1 || e.Error() == "" {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		for _, l := range all {
			if err := l.Validate(); err != nil {
				t.Fatalf("%q: %v", s, err)
			}
		}
		again, err := Parse(join(all))
		if diff := cmp.Diff(all, again); err != nil || diff != "" {
			t.Fatalf("%q: %v\n%s", s, err, diff)
		}
	})
}
