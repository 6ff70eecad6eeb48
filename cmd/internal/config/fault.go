package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxFaults bounds what is told of a file that is something else altogether.
const maxFaults = 100

// fault is one thing that is wrong.
type fault struct {
	at   mark
	path string
	what string
}

func (f fault) Error() string {
	where := f.at.file
	if f.at.line > 0 {
		where = fmt.Sprintf("%s:%d:%d", where, f.at.line, f.at.column)
	}
	if f.path == "" {
		return where + ": " + f.what
	}
	return where + ": " + f.path + ": " + f.what
}

func (r *reader) faultAt(at mark, path, format string, args ...any) {
	r.faults = append(r.faults, fault{at, path, fmt.Sprintf(format, args...)})
}

// fault notes what is wrong with the value at a path.
func (r *reader) fault(path, format string, args ...any) {
	r.faultAt(r.where(path), path, format, args...)
}

// faulty tells that the value at a path is known to be wrong.
func (r *reader) faulty(path string) bool {
	return slices.ContainsFunc(r.faults, func(f fault) bool { return f.path == path })
}

// where is the place of a path, or else of the nearest above it that is written
// down.
func (r *reader) where(path string) mark {
	for {
		if at, ok := r.marks[path]; ok {
			return at
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return mark{file: r.name}
		}
		path = path[:i]
	}
}

// adopt takes what a package says about its part: the joined errors, each with
// a path in front. Of a value that could not be read it was given none, and what it
// says of that is nothing new.
func (r *reader) adopt(err error) {
	for _, f := range r.told(err) {
		r.faultAt(f.at, f.path, "%s", f.what)
	}
}

// told are the faults of an error, without those that are nothing new.
func (r *reader) told(err error) []fault {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []fault
		for _, one := range joined.Unwrap() {
			out = append(out, r.told(one)...)
		}
		return out
	}
	path, what, ok := strings.Cut(err.Error(), ": ")
	if !ok || !regexp.MustCompile(`^[a-z_]+([.\[][^ ]*)?$`).MatchString(path) {
		path, what = "", err.Error()
	}
	if rest, found := strings.CutPrefix(path, "identity.api_keys["); found {
		path = keysPath + "[" + rest
	}
	if path != "" && r.faulty(path) {
		return nil
	}
	return []fault{{r.where(path), path, what}}
}

// err joins all faults in the order of the file, or is nil.
func (r *reader) err() error {
	r.reportUnknown()
	if len(r.faults) == 0 {
		return nil
	}
	slices.SortStableFunc(r.faults, func(a, b fault) int { return cmp.Or(a.at.compare(b.at), cmp.Compare(a.path, b.path)) })
	errs := make([]error, 0, min(len(r.faults), maxFaults)+1)
	for _, f := range r.faults[:min(len(r.faults), maxFaults)] {
		f.what = r.scrub(f.what)
		errs = append(errs, f)
	}
	if more := len(r.faults) - len(errs); more > 0 {
		errs = append(errs, fmt.Errorf("%s: and %d more", r.name, more))
	}
	return errors.Join(errs...)
}

// scrub takes out what no message may show, the longest first, for one may hold
// another.
func (r *reader) scrub(text string) string {
	slices.SortFunc(r.hidden, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, secret := range r.hidden {
		text = strings.ReplaceAll(text, secret, "(hidden)")
		if quoted := strings.Trim(fmt.Sprintf("%q", secret), `"`); quoted != secret {
			text = strings.ReplaceAll(text, quoted, "(hidden)")
		}
	}
	return text
}

// unknown is a key that nobody reads.
type unknown struct {
	path, key string
	known     []string // keys of its section
	at        mark
}

// reportUnknown looks for what was meant, as far as it will be told.
func (r *reader) reportUnknown() {
	for i := range r.unknown {
		u := &r.unknown[i]
		var ok bool
		if u.at, ok = r.keys[u.path]; !ok {
			u.at = r.where(u.path)
		}
	}
	slices.SortFunc(r.unknown, func(a, b unknown) int { return a.at.compare(b.at) })
	for i, u := range r.unknown {
		what := "there is no such key"
		if i < maxFaults {
			what += "; " + u.hint(r.settings)
		}
		r.faultAt(u.at, u.path, "%s", what)
	}
	r.unknown = nil
}

// hint names the key that was meant: one of the section that is spelled almost
// so, or one of that name elsewhere. Otherwise it lists the section's.
func (u unknown) hint(settings []setting) string {
	if near := nearest(u.key, u.known); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	for _, s := range settings {
		if last := s.path[strings.LastIndexByte(s.path, '.')+1:]; last == u.key {
			return fmt.Sprintf("did you mean %s?", s.path)
		}
	}
	if len(u.known) == 0 {
		return "none is expected here"
	}
	return "expected are " + strings.Join(u.known, ", ")
}
