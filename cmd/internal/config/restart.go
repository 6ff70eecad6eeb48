package config

import (
	"slices"
	"strings"
)

// Restart names the keys whose values differ in next and that a reload does not
// take: it keeps the old ones. Of a list whose members came or went, the list
// itself is named.
func (c *Config) Restart(next *Config) []string {
	ours, theirs := c.cold(), next.cold()
	var out []string
	for path, value := range ours {
		if other, ok := theirs[path]; !ok {
			out = append(out, listOf(path))
		} else if other != value {
			out = append(out, path)
		}
	}
	for path := range theirs {
		if _, ok := ours[path]; !ok {
			out = append(out, listOf(path))
		}
	}
	if _, ok := c.Identity.Rekey(next.Identity); !ok {
		out = append(out, "identity.api_keys.file")
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(path string) bool {
		list := listOf(path)
		return list != path && slices.Contains(out, list)
	})
}

// cold are the values that only a restart takes, by path.
func (c *Config) cold() map[string]string {
	out := make(map[string]string, len(c.settings))
	for _, s := range c.settings {
		if !s.hot {
			out[s.path] = s.exact()
		}
	}
	return out
}

// listOf is the path of the outermost list that a path lies in, or the path.
func listOf(path string) string {
	list, _, _ := strings.Cut(path, "[")
	return list
}
