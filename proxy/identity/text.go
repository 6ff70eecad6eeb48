package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lengths in bytes. What is longer is cut and marked with its hash, so that two
// long ids do not become one person.
const (
	maxID    = 128
	maxName  = 128
	maxEmail = 254 // RFC 5321, 4.5.3.1
	maxGroup = 256
	maxTask  = 64
	maxList  = 256 // roles or groups of one identity
)

// clean makes a text fit for keys, logs and terminals: without control characters
// and those that turn the direction of writing, and not longer than limit bytes.
func clean(s string, limit int) string {
	s = strings.TrimSpace(s)
	if !plain(s) {
		s = strings.TrimSpace(strings.Map(visible, strings.ToValidUTF8(s, "")))
	}
	if len(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	mark := "~" + hex.EncodeToString(sum[:8])
	return strings.ToValidUTF8(s[:limit-len(mark)], "") + mark
}

// plain reports whether s has nothing but printable ASCII, as almost all have.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func visible(r rune) rune {
	if r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co) {
		return -1
	}
	return r
}

// unquote undoes percent-encoding. A value that is not encoded, or wrongly, stays
// as it is.
func unquote(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	plain, err := url.PathUnescape(s)
	if err != nil {
		return s
	}
	return plain
}

// email is an address in the form that links people, or empty if s is none.
func email(s string) string {
	s = strings.TrimSpace(s)
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || len(s) > maxEmail || !utf8.ValidString(s) {
		return ""
	}
	for _, r := range s {
		if unicode.IsSpace(r) || visible(r) < 0 || r == ',' {
			return ""
		}
	}
	return strings.ToLower(s)
}

// template reports whether s is a placeholder that Open WebUI did not fill, as
// versions do that do not know it.
func template(s string) bool {
	s = strings.TrimSpace(s)
	return strings.HasPrefix(s, "{{") && strings.HasSuffix(s, "}}")
}
