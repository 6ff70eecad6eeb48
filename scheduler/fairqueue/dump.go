package fairqueue

import (
	"cmp"
	"fmt"
	"slices"
)

// State is a node of the tree as a person reads it. Virtual times are in tokens
// at weight 1.
type State struct {
	Key     string  `json:"key"`
	Weight  float64 `json:"weight"`
	V       float64 `json:"v"`
	Floor   float64 `json:"floor"`
	Ready   bool    `json:"ready"`
	Waiting int     `json:"waiting"` // requests
	Running int     `json:"running"` // requests in flight
	// VNow and Fluid are the clocks of the children; of a user they are 0.
	VNow     float64  `json:"vnow"`
	Fluid    float64  `json:"fluid"`
	Children []State  `json:"children,omitempty"` // by key
	Queue    []string `json:"queue,omitempty"`    // ids of a user's requests that wait, in order
	// Tiers are those before the last, whose classes are Children of the root.
	Tiers []TierState `json:"tiers,omitempty"`
}

// TierState is a tier that goes before those after it. Costs are in tokens.
type TierState struct {
	State
	Floor   float64 `json:"floor_below"`
	Owed    float64 `json:"owed"`    // to those below
	Unspent float64 `json:"unspent"` // of those below that were served because of it, charged and not delivered
}

// Dump is the state of the whole tree; its root has no key. It costs O(n log n).
func (q *Queue) Dump() State {
	s := q.root.top()
	for i := range q.upper {
		t := &q.upper[i]
		s.Tiers = append(s.Tiers, TierState{t.top(), t.floor, t.owed / float64(Token), float64(t.unspent) / float64(Token)})
	}
	return s
}

// top is the state of the children of a tier.
func (l *level) top() State {
	s := State{Weight: 1, Ready: len(l.ready.e) > 0, Waiting: l.waiting}
	l.dump(&s)
	for i := range s.Children {
		s.Running += s.Children[i].Running
	}
	return s
}

func (l *level) dump(s *State) {
	s.VNow, s.Fluid = tokens(l.vnow), tokens(l.fluid)
	for _, n := range l.children {
		s.Children = append(s.Children, n.dump())
	}
	slices.SortFunc(s.Children, func(a, b State) int { return cmp.Compare(a.Key, b.Key) })
}

func (n *node) dump() State {
	s := State{
		Key: n.key, Weight: n.weight.float(), V: tokens(n.v), Floor: tokens(n.floor),
		Ready: n.standing == ready, Waiting: n.waiting, Running: n.flying,
	}
	if n.below != nil {
		n.below.dump(&s)
		return s
	}
	n.flow.root.each(func(r *Request) { s.Queue = append(s.Queue, r.ID) })
	return s
}

// each visits a tree of requests in order.
func (r *Request) each(visit func(*Request)) {
	if r != nil {
		r.left.each(visit)
		visit(r)
		r.right.each(visit)
	}
}

// tokens is virtual time in tokens at weight 1.
func tokens(v int64) float64 { return float64(v) / (fraction * float64(Token)) }

// String prints one node a line, children indented.
func (s State) String() string {
	var b []byte
	for i, t := range s.Tiers {
		b = fmt.Appendf(b, "tier %d floor=%s owed=%s unspent=%s\n", i, number(t.Floor), number(t.Owed), number(t.Unspent))
		b = t.append(b, "")
	}
	return string(s.append(b, ""))
}

func (s State) append(b []byte, indent string) []byte {
	if indent == "" {
		b = append(b, "root"...)
	} else {
		b = fmt.Appendf(b, "%s%s w=%s v=%s floor=%s", indent, s.Key, number(s.Weight), number(s.V), number(s.Floor))
	}
	if s.Children != nil || indent == "" {
		b = fmt.Appendf(b, " vnow=%s fluid=%s", number(s.VNow), number(s.Fluid))
	}
	if s.Ready {
		b = append(b, " ready"...)
	}
	if s.Running > 0 {
		b = fmt.Appendf(b, " running=%d", s.Running)
	}
	for i, id := range s.Queue {
		sep := ","
		if i == 0 {
			sep = " queue="
		}
		b = append(append(b, sep...), id...)
	}
	b = append(b, '\n')
	for i := range s.Children {
		b = s.Children[i].append(b, indent+"  ")
	}
	return b
}

// number prints at most three decimals.
func number(x float64) string {
	text := fmt.Sprintf("%.3f", x)
	end := len(text)
	for text[end-1] == '0' {
		end--
	}
	if text[end-1] == '.' {
		end--
	}
	return text[:end]
}
