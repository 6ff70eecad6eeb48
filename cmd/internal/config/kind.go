package config

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// kind is how one sort of values is written.
type kind[T any] struct {
	want   string // what is expected, in words
	parse  func(string) (T, error)
	show   func(T) string // nil: as fmt does
	words  []string       // the only ones, if there are so few
	isText bool           // false: quotes make it a wrong type
	secret bool           // in no message and in no list of settings
	// private tells of a value, as it stands in the file, that no message may show;
	// nil: none is. What may be listed, show says.
	private func(raw string) bool
}

// errNot is what parse says if want says enough.
var errNot = errors.New("not what is expected")

func (k kind[T]) text(v T) string {
	text := fmt.Sprint(v)
	if k.show != nil {
		text = k.show(v)
	}
	switch {
	case text == "":
		return `""`
	case k.secret:
		return "(set)"
	default:
		return printable(text)
	}
}

func (k kind[T]) list(vs []T) string {
	texts := make([]string, len(vs))
	for i, v := range vs {
		texts[i] = k.text(v)
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func (k kind[T]) table(m map[string]T) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		texts = append(texts, name+": "+k.text(m[name]))
	}
	return "{" + strings.Join(texts, ", ") + "}"
}

// scalar reads one value.
func scalar[T any](r *reader, n *yaml.Node, path string, k kind[T]) (v T, ok bool) {
	switch {
	case n.Kind == yaml.AliasNode: // refused already
		return v, false
	case empty(n):
		r.fault(path, "found nothing, expected %s", k.want)
		return v, false
	case n.Kind != yaml.ScalarNode:
		r.fault(path, "found %s, expected %s", kindOf(n), k.want)
		return v, false
	}
	text, used, err := r.expand(n.Value)
	if err != nil {
		var hint string
		if missing, ok := errors.AsType[unset](err); ok {
			hint = missing.hint(k.secret)
		}
		r.fault(path, "%v%s", err, hint)
		return v, false
	}
	if k.secret {
		r.hide(text)
	}
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	switch {
	case k.isText && n.ShortTag() == "!!bool": // quotes make it a text
		r.fault(path, "found %s, expected %s; in quotes it is a text", n.Value, k.want)
		return v, false
	case !k.isText && quoted && !used:
		r.fault(path, "found a text in quotes, expected %s", k.want)
		return v, false
	}
	if v, err = k.parse(text); err != nil {
		r.fault(path, "%s", k.wrong(n.Value, err))
		return v, false
	}
	return v, true
}

// wrong says what was found, as it stands in the file, and what is expected.
func (k kind[T]) wrong(raw string, err error) string {
	found := "found something else"
	if !k.secret && (k.private == nil || !k.private(raw)) {
		found = "found " + strconv.Quote(clip(raw))
	}
	if !errors.Is(err, errNot) {
		found += " (" + err.Error() + ")"
	}
	found += ", expected " + k.want
	if near := nearest(raw, k.words); near != "" {
		found += "; did you mean " + near + "?"
	}
	return found
}

// printable is a text fit for a terminal, which a setting may not be.
func printable(s string) string {
	if strings.ContainsFunc(s, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return strconv.Quote(s)
	}
	return s
}

func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func text() kind[string] {
	return kind[string]{want: "a text", isText: true, parse: func(s string) (string, error) { return s, nil }}
}

// secret is a text that is never shown.
func secret() kind[string] {
	k := text()
	k.secret = true
	return k
}

// checked is a text that fits.
func checked(want string, fits func(string) bool) kind[string] {
	return kind[string]{want: want, isText: true, parse: func(s string) (string, error) {
		if !fits(s) {
			return "", errNot
		}
		return s, nil
	}}
}

func word(words ...string) kind[string] {
	k := checked(strings.Join(words, " | "), func(s string) bool { return slices.Contains(words, s) })
	k.words = words
	return k
}

func flag() kind[bool] {
	return kind[bool]{want: "true or false", parse: func(s string) (bool, error) {
		if s != "true" && s != "false" {
			return false, errNot
		}
		return s == "true", nil
	}}
}

func whole(least, most int) kind[int] {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	if most == math.MaxInt {
		want = fmt.Sprintf("a whole number, at least %d", least)
	}
	return kind[int]{want: want, parse: func(s string) (int, error) {
		n, err := strconv.Atoi(strings.ReplaceAll(s, "_", ""))
		if err != nil || n < least || n > most {
			return 0, errNot
		}
		return n, nil
	}}
}

// count is a number of things, none included.
func count() kind[int] { return whole(0, math.MaxInt) }

func number(least, most float64) kind[float64] {
	want := fmt.Sprintf("a number from %v to %v", least, most)
	if most == math.MaxFloat64 {
		want = "a number"
	}
	return kind[float64]{want: want, parse: func(s string) (float64, error) {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(x) || x < least || x > most {
			return 0, errNot
		}
		return x, nil
	}}
}

// duration is a time of at least least. Days are written 30d, which Go does not know.
func duration(least time.Duration) kind[time.Duration] {
	want := "a duration like 500ms, 30s, 5m or 24h"
	if least > 0 {
		want += ", more than 0"
	}
	return kind[time.Duration]{want: want, isText: true, show: showDuration, parse: func(s string) (time.Duration, error) {
		d, err := parseDuration(s)
		if err != nil || d < least {
			return 0, errNot
		}
		return d, nil
	}}
}

// positive is a duration of more than nothing.
func positive() kind[time.Duration] { return duration(1) }

const day = 24 * time.Hour

func parseDuration(s string) (time.Duration, error) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, errNot
	}
	d := time.Duration(n) * day
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 || more >= day {
		return 0, errNot
	}
	return d + more, nil
}

func showDuration(d time.Duration) string {
	switch {
	case d > 2*day && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	case d >= time.Hour && d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d >= time.Minute && d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	default:
		return d.String()
	}
}

// units of sizes, the longest names first.
func units() []struct {
	name string
	size int64
} {
	return []struct {
		name string
		size int64
	}{{"GIB", 1 << 30}, {"MIB", 1 << 20}, {"KIB", 1 << 10}, {"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"B", 1}, {"", 1}}
}

// size is a number of bytes, more than none. A KB has 1,024 of them.
func size() kind[int64] {
	return kind[int64]{want: "a size like 512KB, 8MB or 1GB, more than 0", isText: true, show: showSize, parse: func(s string) (int64, error) {
		for _, u := range units() {
			digits, ok := strings.CutSuffix(strings.ToUpper(s), u.name)
			if !ok {
				continue
			}
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			if err != nil || n <= 0 || n > math.MaxInt64/u.size {
				return 0, errNot
			}
			return n * u.size, nil
		}
		return 0, errNot
	}}
}

func showSize(n int64) string {
	for _, u := range units()[3:] {
		if u.size <= n && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
