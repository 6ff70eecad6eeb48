package policy

import (
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// field is one that a condition may ask about.
type field int

const (
	fieldUser field = iota
	fieldEmail
	fieldKey
	fieldRole
	fieldGroup
	fieldModel
	fieldEndpoint
	fieldTask
	fieldAuthType
	fieldIP
	fieldAnonymous
)

// conditions are the lists of a When with their names, in a fixed order.
func (w *When) conditions() []condition {
	return []condition{
		{"user", fieldUser, w.User},
		{"email", fieldEmail, w.Email},
		{"key", fieldKey, w.Key},
		{"role", fieldRole, w.Role},
		{"group", fieldGroup, w.Group},
		{"model", fieldModel, w.Model},
		{"endpoint", fieldEndpoint, w.Endpoint},
		{"task", fieldTask, w.Task},
		{"auth_type", fieldAuthType, w.AuthType},
		{"ip", fieldIP, w.IP},
	}
}

type condition struct {
	name   string
	field  field
	values []string
}

// String is the conditions in a fixed order, whatever the order in the file;
// `*` if there are none.
func (w *When) String() string {
	return w.text(func(values []string) string { return strings.Join(values, ",") })
}

// brief is String for people, with the first few values of a long list.
func (w *When) brief() string {
	const long, few = 80, 2
	if text := w.String(); len(text) <= long {
		return text
	}
	text := w.text(func(values []string) string {
		if more := len(values) - few; more > 1 {
			return strings.Join(values[:few], ",") + " and " + strconv.Itoa(more) + " more"
		}
		return strings.Join(values, ",")
	})
	if len(text) <= 2*long {
		return text
	}
	return strings.ToValidUTF8(text[:2*long], "") + "…"
}

// text is the conditions, each list written by join.
func (w *When) text(join func([]string) string) string {
	var parts []string
	for _, c := range w.conditions() {
		if len(c.values) > 0 {
			values := slices.Clone(c.values)
			slices.Sort(values)
			parts = append(parts, c.name+"="+join(slices.Compact(values)))
		}
	}
	switch {
	case w.Anonymous != nil && *w.Anonymous:
		parts = append(parts, "anonymous=true")
	case w.Anonymous != nil:
		parts = append(parts, "anonymous=false")
	case len(parts) == 0:
		return "*"
	}
	return strings.Join(parts, " ")
}

// check is one condition of a rule.
type check struct {
	field field
	few   []string            // short lists are compared one by one
	many  map[string]struct{} // long ones looked up
	ip    []netip.Prefix
	want  bool // fieldAnonymous
}

func compileWhen(w *When) []check {
	var out []check
	if w.Anonymous != nil {
		out = append(out, check{field: fieldAnonymous, want: *w.Anonymous})
	}
	for _, c := range w.conditions() {
		if len(c.values) > 0 {
			out = append(out, compileList(c))
		}
	}
	return out
}

func compileList(c condition) check {
	const few = 4
	out := check{field: c.field}
	for _, v := range c.values {
		switch c.field {
		case fieldIP:
			if prefix, err := parsePrefix(v); err == nil { // validate has seen them
				out.ip = append(out.ip, prefix)
			}
			continue
		case fieldEmail:
			v = strings.ToLower(v)
		case fieldUser:
			if lower := strings.ToLower(v); strings.Contains(v, "@") && lower != v {
				out.few = append(out.few, lower)
			}
		default:
		}
		out.few = append(out.few, v)
	}
	if len(out.few) > few {
		out.many = make(map[string]struct{}, len(out.few))
		for _, v := range out.few {
			out.many[v] = struct{}{}
		}
	}
	return out
}

// parsePrefix reads a CIDR, or an address as the prefix of its own.
func parsePrefix(s string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, errors.New("is neither an address nor a CIDR")
	}
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func (r *rule) matches(s *subject) bool {
	for i := range r.checks {
		if !r.checks[i].holds(s) {
			return false
		}
	}
	return true
}

func (c *check) holds(s *subject) bool {
	switch c.field {
	case fieldUser:
		return c.has(s.id.ID) || c.has(s.person)
	case fieldEmail:
		return c.has(s.id.Email)
	case fieldKey:
		return c.has(s.id.KeyID)
	case fieldRole:
		return c.any(s.id.Roles)
	case fieldGroup:
		return c.any(s.id.Groups)
	case fieldModel:
		return c.has(s.q.Model) || c.has(s.q.Alias)
	case fieldEndpoint:
		return c.has(string(s.q.Endpoint))
	case fieldTask:
		return c.has(s.task)
	case fieldAuthType:
		return c.has(string(s.id.AuthType))
	case fieldIP:
		return c.covers(s.id.Addr)
	default:
		return s.id.Anonymous == c.want
	}
}

// has never finds the empty string, which is what is not known: validate keeps it
// out of the lists.
func (c *check) has(v string) bool {
	if c.many != nil {
		_, ok := c.many[v]
		return ok
	}
	return slices.Contains(c.few, v)
}

func (c *check) any(values []string) bool { return slices.ContainsFunc(values, c.has) }

func (c *check) covers(addr netip.Addr) bool {
	for _, prefix := range c.ip {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}
