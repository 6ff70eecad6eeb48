package identity

import (
	"encoding/json"
	"strings"
)

// claims are what a token says.
type claims map[string]any

// find follows a path. A name may hold dots itself, as the claims that are called
// by a URL do: the whole path is tried first.
func (c claims) find(path string) any {
	if path == "" {
		return nil
	}
	if v, ok := c[path]; ok {
		return v
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		if below, ok := c[path[:i]].(map[string]any); ok {
			if v := claims(below).find(path[i+1:]); v != nil {
				return v
			}
		}
	}
	return nil
}

// text is a claim that is a string or a number.
func (c claims) text(path string) string {
	switch v := c.find(path).(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return ""
	}
}

// list is a claim that is a list, a string, or words in a string. A string with
// blanks is also kept as a whole, behind its words.
func (c claims) list(path string) []string {
	var out []string
	add := func(s string) {
		if s = clean(s, maxGroup); s != "" && len(out) < maxList {
			out = append(out, s)
		}
	}
	switch v := c.find(path).(type) {
	case string:
		words := strings.Fields(v)
		for _, word := range words {
			add(word)
		}
		if len(words) > 1 {
			add(v)
		}
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				add(s)
			}
		}
	}
	return out
}

// verified is what the issuer says about the email: yes, no, or nothing.
func (c claims) verified() (yes, said bool) {
	switch v := c["email_verified"].(type) {
	case bool:
		return v, true
	case string:
		return strings.EqualFold(v, "true"), true
	default:
		return false, false
	}
}

// email is the address that the issuer vouches for, or empty.
func (j *Issuer) email(c claims) string {
	yes, said := c.verified()
	switch {
	case j.EmailClaim != "" && (yes || !said):
		return email(c.text(j.EmailClaim))
	case j.EmailClaim == "" && yes:
		return email(c.text("email"))
	default:
		return ""
	}
}
