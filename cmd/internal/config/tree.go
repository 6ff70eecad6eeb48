package config

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxFile   = 8 << 20   // bytes of the configuration, or of the key file
	maxSecret = 256 << 10 // bytes of what ${file:…} names
)

// mark is a place in a file. Line and column begin with 1; 0: not known.
type mark struct {
	file         string
	line, column int
}

func (m mark) compare(other mark) int {
	return cmp.Or(cmp.Compare(m.file, other.file), cmp.Compare(m.line, other.line), cmp.Compare(m.column, other.column))
}

// document reads YAML and notes where every path stands.
func (r *reader) document(data []byte, file, path string) *yaml.Node {
	at := mark{file: file}
	if len(data) > maxFile {
		r.faultAt(at, path, "is larger than %d MB", maxFile>>20)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		r.syntax(data, file, path, err)
		return nil
	}
	var next yaml.Node
	if err := dec.Decode(&next); !errors.Is(err, io.EOF) {
		if err != nil {
			r.syntax(data, file, path, err)
		} else {
			r.faultAt(mark{file, next.Line, next.Column}, path, "a second document begins here, and one is expected")
		}
		return nil
	}
	root := doc.Content[0]
	r.walk(root, file, path)
	if empty(root) {
		return nil
	}
	return root
}

// syntax tells what the parser says, which knows lines but no columns. It names
// anchors and tags, and a secret without quotes may look like one.
func (r *reader) syntax(data []byte, file, path string, err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	at := mark{file, 1, 1}
	if m := regexp.MustCompile(`^line (\d+): `).FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if n, err := strconv.Atoi(m[1]); err == nil {
			at.line = n
		}
	}
	var line []byte
	if lines := bytes.Split(data, []byte("\n")); at.line >= 1 && at.line <= len(lines) {
		line = lines[at.line-1]
		at.column = len(line) - len(bytes.TrimLeft(line, " \t")) + 1
	}
	switch {
	case strings.HasPrefix(text, "unknown anchor '"):
		name, _, _ := strings.Cut(strings.TrimPrefix(text, "unknown anchor '"), "'")
		before, _, _ := bytes.Cut(data, []byte("*"+name))
		at.line, at.column = 1+bytes.Count(before, []byte("\n")), len(before)-bytes.LastIndexByte(before, '\n')
		text = "an alias (*) names no anchor: write a text that begins with * in quotes"
	case strings.Contains(text, "cannot start any token"):
		text += ": indent with blanks, not tabs, and write a text that begins with @, ` or % in quotes"
	case bytes.Contains(line, []byte("${")):
		text += ": between { } and [ ], write ${…} in quotes"
	}
	r.faultAt(at, path, "this is no YAML: %s", text)
}

// walk notes the marks below n and refuses what YAML has beyond plain keys.
func (r *reader) walk(n *yaml.Node, file, path string) {
	at := mark{file, n.Line, n.Column}
	r.marks[path] = at
	switch {
	case n.Kind == yaml.AliasNode:
		r.faultAt(at, path, "aliases (*) are not read here: write the value itself, or in quotes if it is a text")
		return
	case n.Anchor != "":
		r.faultAt(at, path, "anchors (&) are not read here: write a text that begins with & in quotes")
	case n.Style&yaml.TaggedStyle != 0:
		r.faultAt(at, path, "tags (!) are not read here: write a text that begins with ! in quotes")
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for i, item := range n.Content {
			r.walk(item, file, path+"["+strconv.Itoa(i)+"]")
		}
	case yaml.MappingNode:
		r.walkKeys(n, file, path)
	default:
	}
}

func (r *reader) walkKeys(n *yaml.Node, file, path string) {
	seen := make(map[string]int, len(n.Content)/2)
	for pair := range slices.Chunk(n.Content, 2) {
		key, at := pair[0], mark{file, pair[0].Line, pair[0].Column}
		switch first, twice := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			r.faultAt(at, path, "a key has to be a text")
			continue
		case key.Value == "<<" && key.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0:
			r.faultAt(at, path, "merge keys (<<) are not read here: write the keys themselves")
			continue
		case twice:
			r.faultAt(at, join(path, key.Value), "the key is there twice, first in line %d", first)
			continue
		}
		seen[key.Value] = key.Line
		below := join(path, key.Value)
		r.keys[below] = at
		r.walk(pair[1], file, below)
	}
}

// join makes the path of a key. A key that is no plain word is quoted.
func join(path, key string) string {
	if key == "" || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c == '"' || c > '~' }) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// empty tells that a key has no value.
func empty(n *yaml.Node) bool {
	return n == nil || n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		return "a single value"
	}
}
