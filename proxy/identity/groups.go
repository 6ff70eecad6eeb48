package identity

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

const (
	anything = "(objectClass=*)"
	nothing  = "1.1" // no attribute: RFC 4511, 4.5.1.8
)

// search finds the person, and the groups. A person who is not there, or two who
// fit, have none.
func (d *directory) search(l *link, who string) ([]string, error) {
	person, err := d.entry(l, d.BaseDN, ldap.ScopeWholeSubtree, filled(d.UserFilter, who))
	if err != nil || person == nil {
		return nil, err
	}
	values, err := d.above(l, person)
	if err != nil {
		return nil, err
	}
	if d.Nested {
		if values, err = d.climb(l, values); err != nil {
			return nil, err
		}
	}
	var out []string
	for _, v := range values {
		out = appendDN(out, v)
	}
	return out, nil
}

// filled is a filter with a value in the place of %s, whatever the value holds.
func filled(filter, value string) string {
	return strings.Replace(filter, "%s", ldap.EscapeFilter(value), 1)
}

// entry is the one that fits; nil: there is none, or there are several.
func (d *directory) entry(l *link, base string, scope int, filter string) (*ldap.Entry, error) {
	const one = 1 // the limit is one more, so that a second is noticed
	want := []string{d.GroupAttribute}
	if d.GroupFilter != "" && d.GroupMember != MemberDN {
		want = append(want, d.GroupMember)
	}
	res, err := l.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, one+1, int(askTimeout.Seconds()), false, filter, want, nil))
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject, ldap.LDAPResultSizeLimitExceeded):
		return nil, nil //nolint:nilnil // nobody is no error
	case err != nil:
		return nil, err
	case len(res.Entries) != one:
		return nil, nil //nolint:nilnil // nobody is no error
	}
	return res.Entries[0], nil
}

// above are the groups that an entry, a person's or a group's, is in itself: those that
// it names, and those that name it.
func (d *directory) above(l *link, e *ldap.Entry) ([]string, error) {
	out := e.GetEqualFoldAttributeValues(d.GroupAttribute)
	if d.GroupFilter != "" {
		names := []string{e.DN}
		if d.GroupMember != MemberDN {
			names = e.GetEqualFoldAttributeValues(d.GroupMember)
		}
		for _, name := range names[:min(len(names), mostNames)] {
			found, err := d.naming(l, name)
			if err != nil {
				return nil, err
			}
			out = append(out, found...)
		}
	}
	return out[:min(len(out), maxList)], nil
}

// mostNames are the values of a person's GroupMember that are looked for.
const mostNames = 4

// naming are the groups that name somebody.
func (d *directory) naming(l *link, name string) ([]string, error) {
	res, err := l.Search(ldap.NewSearchRequest(d.GroupBaseDN, ldap.ScopeWholeSubtree, ldap.NeverDerefAliases, maxList, int(askTimeout.Seconds()), false,
		filled(d.GroupFilter, name), []string{nothing}, nil))
	switch {
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return nil, nil
	case ldap.IsErrorWithCode(err, ldap.LDAPResultSizeLimitExceeded) && res != nil: // the first so many do
	case err != nil:
		return nil, err
	}
	out := make([]string, 0, len(res.Entries))
	for _, e := range res.Entries {
		out = append(out, e.DN)
	}
	return out, nil
}

// climb adds the groups that groups are in. Circles end, for each is read once.
func (d *directory) climb(l *link, dns []string) ([]string, error) {
	seen := map[string]bool{}
	for _, dn := range dns {
		seen[strings.ToLower(dn)] = true
	}
	out := slices.Clone(dns)
	for i := 0; i < len(out); i++ {
		above, err := d.aboveDN(l, out[i])
		if err != nil {
			return nil, err
		}
		for _, dn := range above {
			if lower := strings.ToLower(dn); !seen[lower] && len(out) < maxList {
				seen[lower] = true
				out = append(out, dn)
			}
		}
	}
	return out, nil
}

// aboveDN are the groups that a group is in itself.
func (d *directory) aboveDN(l *link, dn string) ([]string, error) {
	if !isDN(dn) {
		return nil, nil // a name, not a place in the directory
	}
	group, err := d.entry(l, dn, ldap.ScopeBaseObject, anything)
	if err != nil || group == nil {
		return nil, err
	}
	return d.above(l, group)
}

func isDN(s string) bool {
	dn, err := ldap.ParseDN(s)
	return err == nil && len(dn.RDNs) > 0
}

// appendDN adds a group by its CN, by its DN as the directory writes it, and by its
// DN in lower case. What is no DN is a name.
func appendDN(out []string, value string) []string {
	add := func(s string) {
		if s = clean(s, maxGroup); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	dn, err := ldap.ParseDN(value)
	if err == nil && len(dn.RDNs) > 0 {
		for _, a := range dn.RDNs[0].Attributes {
			if strings.EqualFold(a.Type, "cn") {
				add(a.Value)
			}
		}
	}
	add(value)
	if err == nil {
		add(strings.ToLower(dn.String()))
	}
	return out
}

// CheckLDAP connects, binds and reads the base, and says what does not work.
func CheckLDAP(ctx context.Context, cfg LDAP, roots *x509.CertPool) error {
	d := newDirectory(cfg.WithDefaults(), roots, func(error) {})
	defer d.stop()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	l, err := d.dial(ctx)
	if err != nil {
		return err
	}
	defer l.shut()
	defer context.AfterFunc(ctx, func() { _ = l.raw.Close() })()
	bases := map[string]string{"base_dn": d.BaseDN}
	if d.GroupFilter != "" {
		bases["group_base_dn"] = d.GroupBaseDN
	}
	for _, key := range slices.Sorted(maps.Keys(bases)) {
		res, err := l.Search(ldap.NewSearchRequest(bases[key], ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, 0, false, anything, []string{nothing}, nil))
		switch {
		case err != nil:
			return fmt.Errorf("identity.ldap.%s %q: %w", key, bases[key], err)
		case len(res.Entries) == 0:
			return fmt.Errorf("identity.ldap.%s %q cannot be read as %q", key, bases[key], cfg.BindDN)
		}
	}
	return nil
}
