package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// keyFilePath is what the keys and their file go by in lists of what changed.
const keyFilePath = "identity.api_keys.file"

// Restart names the keys whose values differ in next and that a reload does not
// take: it keeps the old ones. Of a list whose members came or went, the list
// itself is named.
func (c *Config) Restart(next *Config) []string {
	out := differing(c.values(false), next.values(false))
	if _, ok := c.Identity.Rekey(next.Identity); !ok {
		out = append(out, keyFilePath)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(path string) bool {
		list := listOf(path)
		return list != path && slices.Contains(out, list)
	})
}

// Hot names the keys whose values differ in next and that a reload takes. The
// backends of a pool and the keys of the key file are named as a whole.
func (c *Config) Hot(next *Config) []string {
	out := differing(c.values(true), next.values(true))
	out = append(out, c.hotPools(next)...)
	out = append(out, c.hotRules(next)...)
	if !reflect.DeepEqual(c.Identity.APIKeys, next.Identity.APIKeys) {
		out = append(out, keyFilePath)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// hotPools are the lists of backends that differ. A pool is known by its name: the
// places of pools may have changed.
func (c *Config) hotPools(next *Config) []string {
	var out []string
	for _, ours := range c.Pools {
		i := slices.IndexFunc(next.Pools, func(p Pool) bool { return p.Name == ours.Name })
		if i >= 0 && !slices.Equal(ours.Backends, next.Pools[i].Backends) {
			out = append(out, "pools["+strconv.Itoa(i)+"].backends")
		}
	}
	return out
}

// hotRules are the rules that differ, or the list if there are more or fewer.
func (c *Config) hotRules(next *Config) []string {
	ours, theirs := c.Policy.Rules, next.Policy.Rules
	if len(ours) != len(theirs) {
		return []string{"policy"}
	}
	var out []string
	for i := range ours {
		if !reflect.DeepEqual(ours[i], theirs[i]) {
			out = append(out, "policy["+strconv.Itoa(i)+"]")
		}
	}
	return out
}

// Took remembers that a reload took from next what it takes: Hot and Restart
// compare with that from now on.
func (c *Config) Took(next *Config) {
	kept := slices.DeleteFunc(slices.Clone(c.settings), func(s setting) bool { return s.hot })
	for _, s := range next.settings {
		if s.hot {
			kept = append(kept, s)
		}
	}
	c.settings = kept
}

// differing are the paths whose values are not the same, or the list that a path
// lies in if it is on one side only.
func differing(ours, theirs map[string]string) []string {
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
	return out
}

// values are what a reload takes, but for backends, or what only a restart does,
// by path.
func (c *Config) values(hot bool) map[string]string {
	out := make(map[string]string, len(c.settings))
	for _, s := range c.settings {
		if s.hot == hot && (!hot || !strings.HasPrefix(s.path, "pools[")) {
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
