package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// expand fills in what ${…} stands for. Used tells that there was one.
func (r *reader) expand(text string) (out string, used bool, err error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			b.WriteString(text)
			return b.String(), used, nil
		}
		if plain, escaped := strings.CutSuffix(before, "$"); escaped {
			b.WriteString(plain + "${")
			text = rest
			continue
		}
		inner, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", true, errors.New("has ${ without }; a plain ${ is written $${")
		}
		value, err := r.lookup(inner)
		if err != nil {
			return "", true, err
		}
		b.WriteString(before + value)
		text, used = after, true
	}
}

// lookup is the value of one ${…}, given without its braces.
func (r *reader) lookup(inner string) (string, error) {
	if file, ok := strings.CutPrefix(inner, "file:"); ok {
		data, err := r.read(r.path(file), maxSecret)
		if err != nil {
			return "", fmt.Errorf("${file:%s}: %w", file, err)
		}
		return r.hide(strings.TrimRight(string(data), "\r\n")), nil
	}
	name, fallback, has := strings.Cut(inner, ":-")
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return "", errors.New("has a ${…} that is none of ${NAME}, ${NAME:-default} and ${file:/path}; a plain ${ is written $${")
	}
	value, set := r.env(name)
	switch {
	case set && (value != "" || !has):
		return r.hide(value), nil
	case has:
		return fallback, nil
	default:
		return "", unset(name)
	}
}

// unset is the name of a variable that is not there.
type unset string

func (u unset) Error() string { return fmt.Sprintf("${%s} is not set in the environment", string(u)) }

// hint says how to do without the variable, which is nothing to propose for a
// secret.
func (u unset) hint(secret bool) string {
	if secret {
		return ""
	}
	return fmt.Sprintf("; ${%s:-default} would do without", string(u))
}

// hide notes a value that no message may show.
func (r *reader) hide(value string) string {
	const short = 4 // below it the value would be found in every other word
	if len(value) >= short {
		r.hidden = append(r.hidden, value)
	}
	return value
}

// path is a file's name as the configuration has it: relative to its own directory.
func (r *reader) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(r.dir, name)
}
