package quota

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"fairlane/proxy/policy"
)

// Prefix begins the names of overrides in a source.
const Prefix = "rate_limit:"

// ErrInvalid is the asker's mistake; what is wrong stands before it.
var ErrInvalid = errors.New("not changed")

// ErrNone is of an override that is to be deleted, and is not there.
var ErrNone = errors.New("there is no such quota")

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

// person is the name of somebody's override. Emails have no case.
func person(id, size string) Name {
	if strings.Contains(id, "@") {
		id = strings.ToLower(id)
	}
	return Name{Kind: User, ID: id, Size: size}
}

// ParseName reads a name, with or without the prefix: user:alice,
// rate_limit:user:alice:heavy. An id may hold colons; an email is made lower case.
func ParseName(s string) (Name, error) {
	kind, id, ok := strings.Cut(strings.TrimPrefix(s, Prefix), ":")
	switch {
	case ok && id != "" && slices.Contains([]string{User, Key, Group, Role}, kind):
	case ok && kind != "" && slices.Contains(sizes(), id):
		return Name{}, fmt.Errorf("%q: the %s requests of somebody are user:%s:%s, at the command line %s --size %s: %w", s, id, kind, id, kind, id, ErrInvalid)
	default:
		return Name{}, fmt.Errorf("%q: expected user:<id or email>, key:<id>, group:<name> or role:<name>: %w", s, ErrInvalid)
	}
	n := Name{Kind: kind, ID: id}
	if kind == User {
		n = sized(id)
	}
	if strings.TrimSpace(n.ID) != n.ID || strings.ContainsFunc(n.ID, unicode.IsControl) {
		return Name{}, fmt.Errorf("%q: nobody's id begins or ends with a space, or has a line break in it: %w", s, ErrInvalid)
	}
	return n, nil
}

// sized is the name of somebody's override, whose size may stand after a colon.
func sized(id string) Name {
	if i := strings.LastIndexByte(id, ':'); i > 0 && slices.Contains(sizes(), id[i+1:]) {
		return person(id[:i], id[i+1:])
	}
	return person(id, "")
}

// sought is the name of a key if it is the one by which its override is looked for.
func sought(key string) (Name, error) {
	n, err := ParseName(key)
	if err == nil && n.String() != key {
		return Name{}, fmt.Errorf("nobody is looked for under this name: write %s", n)
	}
	return n, err
}
