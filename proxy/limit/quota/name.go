package quota

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"fairlane/proxy/policy"
)

// Prefix begins the names of overrides in a source.
const Prefix = "rate_limit:"

// ErrInvalid is the asker's mistake; what is wrong stands before it.
var ErrInvalid = errors.New("not changed")

// The kinds of those whom an override is about.
const (
	User  = "user"
	Key   = "key"
	Group = "group"
	Role  = "role"
)

// Name says whom an override is about, and which of their requests.
type Name struct {
	Kind string // user, key, group, role
	ID   string
	Size string // light, medium, heavy; empty: all requests. Only of users
}

// String writes the name as it stands in a source.
func (n Name) String() string {
	s := Prefix + n.Kind + ":" + n.ID
	if n.Size != "" {
		s += ":" + n.Size
	}
	return s
}

func sizes() []string { return []string{policy.SizeLight, policy.SizeMedium, policy.SizeHeavy} }

// ParseName reads a name, with or without the prefix: user:alice,
// rate_limit:user:alice:heavy. An id may hold colons.
func ParseName(s string) (Name, error) {
	kind, id, ok := strings.Cut(strings.TrimPrefix(s, Prefix), ":")
	if !ok || id == "" || !slices.Contains([]string{User, Key, Group, Role}, kind) {
		return Name{}, fmt.Errorf("%q: expected user:<id or email>, key:<id>, group:<name> or role:<name>: %w", s, ErrInvalid)
	}
	n := Name{Kind: kind, ID: id}
	if kind == User {
		if i := strings.LastIndexByte(id, ':'); i > 0 && slices.Contains(sizes(), id[i+1:]) {
			n.ID, n.Size = id[:i], id[i+1:]
		}
	}
	return n, nil
}
