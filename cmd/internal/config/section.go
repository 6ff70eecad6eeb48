package config

import (
	"fmt"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// reader reads one configuration.
type reader struct {
	name, dir string
	env       func(string) (string, bool)
	read      func(path string, most int) ([]byte, error)

	marks    map[string]mark // of values, by path
	keys     map[string]mark // of keys
	faults   []fault
	unknown  []unknown
	hidden   []string // what no message may show
	settings []setting
	warnings []string
}

// section is a mapping of the file, or one that is not written there and so has
// all its defaults.
type section struct {
	*reader
	path   string
	fields map[string]*yaml.Node
	known  []string
	hot    bool // a reload takes it
	quiet  bool // its keys are no settings: something else tells of them
}

func (r *reader) section(n *yaml.Node, path string) *section {
	s := &section{reader: r, path: path}
	switch {
	case empty(n) || n.Kind == yaml.AliasNode: // aliases are refused already
	case n.Kind != yaml.MappingNode:
		r.fault(path, "found %s, expected a mapping of keys", kindOf(n))
	default:
		s.fields = make(map[string]*yaml.Node, len(n.Content)/2)
		for pair := range slices.Chunk(n.Content, 2) {
			if _, twice := s.fields[pair[0].Value]; !twice && pair[0].Kind == yaml.ScalarNode && pair[0].Value != "<<" {
				s.fields[pair[0].Value] = pair[1]
			}
		}
	}
	return s
}

func (s *section) below(n *yaml.Node, path string) *section {
	child := s.section(n, path)
	child.hot, child.quiet = s.hot, s.quiet
	return child
}

// field is the node of a key, which is known from now on; nil: it has no value.
func (s *section) field(key string) *yaml.Node {
	s.known = append(s.known, key)
	if n := s.fields[key]; !empty(n) && n.Kind != yaml.AliasNode {
		return n
	}
	return nil
}

// has tells that a key has a value.
func (s *section) has(key string) bool { return !empty(s.fields[key]) }

// in reads the section under a key.
func (s *section) in(key string, read func(*section)) {
	child := s.below(s.field(key), join(s.path, key))
	read(child)
	child.done()
}

// items are the mappings of the list under a key. False: the key has no value, and
// the default list holds.
func (s *section) items(key string) ([]*section, bool) {
	path := join(s.path, key)
	n := s.field(key)
	if n == nil {
		return nil, false
	}
	if n.Kind != yaml.SequenceNode {
		s.fault(path, "found %s, expected a list", kindOf(n))
		return nil, false
	}
	out := make([]*section, len(n.Content))
	for i, item := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		if empty(item) {
			s.fault(at, "found nothing, expected a mapping of keys")
		}
		out[i] = s.below(item, at)
	}
	return out, true
}

// done ends a section: what nobody has asked for is unknown.
func (s *section) done() {
	for key := range s.fields {
		if !slices.Contains(s.known, key) {
			s.unknown = append(s.unknown, unknown{path: join(s.path, key), key: key, known: s.known})
		}
	}
}

// setting is a key with what it resolved to.
type setting struct {
	path   string
	text   func() string // for people
	exact  func() string // to compare
	given  bool          // by the file
	hot    bool
	secret bool
}

// take reads the key into to, which holds the default.
func take[T any](s *section, key string, to *T, k kind[T]) {
	path := join(s.path, key)
	n := s.field(key)
	if !s.quiet {
		s.settings = append(s.settings, setting{path, func() string { return k.text(*to) }, func() string { return fmt.Sprint(*to) }, n != nil, s.hot, k.secret})
	}
	if n != nil {
		if v, ok := scalar(s.reader, n, path, k); ok {
			*to = v
		}
	}
}

// maybe reads the key into to, which stays nil if the key has no value.
func maybe[T any](s *section, key string, to **T, k kind[T]) {
	n := s.field(key)
	if n == nil {
		return
	}
	if v, ok := scalar(s.reader, n, join(s.path, key), k); ok {
		*to = &v
	}
}

// takeList reads a list, or a single value as a list of one.
func takeList[T any](s *section, key string, to *[]T, k kind[T]) {
	path := join(s.path, key)
	n := s.field(key)
	if !s.quiet {
		s.settings = append(s.settings, setting{path, func() string { return k.list(*to) }, func() string { return fmt.Sprint(*to) }, n != nil, s.hot, k.secret})
	}
	switch {
	case n == nil:
	case n.Kind == yaml.SequenceNode:
		list := make([]T, 0, len(n.Content))
		for i, item := range n.Content {
			if v, ok := scalar(s.reader, item, path+"["+strconv.Itoa(i)+"]", k); ok {
				list = append(list, v)
			}
		}
		*to = list
	case n.Kind == yaml.MappingNode:
		s.fault(path, "found %s, expected a list", kindOf(n))
	default:
		if v, ok := scalar(s.reader, n, path, k); ok {
			*to = []T{v}
		}
	}
}

// takeTable reads a mapping of names to values.
func takeTable[T any](s *section, key string, to *map[string]T, k kind[T]) {
	path := join(s.path, key)
	n := s.field(key)
	if !s.quiet {
		s.settings = append(s.settings, setting{path, func() string { return k.table(*to) }, func() string { return fmt.Sprint(*to) }, n != nil, s.hot, k.secret})
	}
	if n == nil {
		return
	}
	table := map[string]T{}
	for name, node := range s.section(n, path).fields {
		if v, ok := scalar(s.reader, node, join(path, name), k); ok {
			table[name] = v
		}
	}
	*to = table
}
