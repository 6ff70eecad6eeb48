package keyfile

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"fairlane/proxy/identity"
)

// entry is a key as it is written.
type entry struct {
	ID        string   `yaml:"id"`
	SHA256    string   `yaml:"sha256"`
	User      string   `yaml:"user,omitempty"`
	Email     string   `yaml:"email,omitempty"`
	Name      string   `yaml:"name,omitempty"`
	Roles     []string `yaml:"roles,omitempty,flow"`
	Groups    []string `yaml:"groups,omitempty,flow"`
	Expires   string   `yaml:"expires,omitempty"`
	Forwarder bool     `yaml:"forwarder,omitempty"`
}

const day = 24 * time.Hour

// node is the key as one line of YAML.
func node(k identity.Key) (*yaml.Node, error) {
	e := entry{ID: k.ID, SHA256: k.SHA256, User: k.User, Email: k.Email, Name: k.Name, Roles: k.Roles, Groups: k.Groups, Forwarder: k.Forwarder}
	switch t := k.Expires.UTC(); {
	case t.IsZero():
	case t.Equal(t.Truncate(day)):
		e.Expires = t.Format(time.DateOnly)
	default:
		e.Expires = t.Format(time.RFC3339)
	}
	for _, s := range append([]string{e.ID, e.User, e.Email, e.Name}, append(e.Roles, e.Groups...)...) {
		if strings.Contains(s, "${") {
			return nil, fmt.Errorf("%q: ${…} in the key file stands for something else", s)
		}
	}
	n := &yaml.Node{}
	if err := n.Encode(e); err != nil {
		return nil, err
	}
	n.Style = yaml.FlowStyle
	return n, nil
}

// list is the file's list and its document; nil: there is none yet.
func list(data []byte) (doc, items *yaml.Node, err error) {
	doc = &yaml.Node{}
	if err := yaml.Unmarshal(data, doc); err != nil {
		return nil, nil, err
	}
	if len(doc.Content) == 0 {
		return doc, nil, nil
	}
	items = doc.Content[0]
	if items.Kind != yaml.SequenceNode {
		return nil, nil, errors.New("the key file is no list")
	}
	return doc, items, nil
}

// add appends a key.
func add(data []byte, k identity.Key) ([]byte, error) {
	doc, items, err := list(data)
	if err != nil {
		return nil, err
	}
	n, err := node(k)
	if err != nil {
		return nil, err
	}
	if items != nil && items.Style&yaml.FlowStyle != 0 {
		items.Style, items.Content = 0, append(items.Content, n)
		return encode(doc)
	}
	line, err := encode(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{n}})
	if err != nil {
		return nil, err
	}
	indent := ""
	if items != nil {
		indent = strings.Repeat(" ", items.Column-1)
	}
	out := bytes.Clone(data)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return append(append(out, indent...), line...), nil
}

// remove takes the key at a place out, with the comment right above it unless that
// may be the whole file's.
func remove(data []byte, at int) ([]byte, error) {
	doc, items, err := list(data)
	if err != nil {
		return nil, err
	}
	if items.Style&yaml.FlowStyle != 0 {
		items.Content = append(items.Content[:at], items.Content[at+1:]...)
		if len(items.Content) > 0 {
			items.Style = 0
		}
		return encode(doc)
	}
	lines := strings.SplitAfter(string(data), "\n")
	from, to := begin(lines, items, at), len(lines)
	if at+1 < len(items.Content) {
		to = begin(lines, items, at+1)
	}
	for to > from+1 && aside(lines[to-1]) { // what stands above the next one, or at the end, stays
		to--
	}
	for at > 0 && from > 0 && comment(lines[from-1]) {
		from--
	}
	return []byte(strings.Join(append(lines[:from:from], lines[to:]...), "")), nil
}

// begin is the index of the line with an item's dash.
func begin(lines []string, items *yaml.Node, at int) int {
	i := items.Content[at].Line - 1
	for i > 0 && (len(lines[i]) < items.Column || lines[i][items.Column-1] != '-') {
		i--
	}
	return i
}

func comment(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "#") }

func aside(line string) bool { return strings.TrimSpace(line) == "" || comment(line) }

func encode(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		return nil, err
	}
	return out.Bytes(), e.Close()
}
