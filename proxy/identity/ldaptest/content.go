package ldaptest

import (
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Where things are, and who may look.
const (
	Base     = "dc=example,dc=com"
	Binder   = "cn=admin," + Base
	Password = "sesame in the directory"
	people   = "ou=people," + Base
	groups   = "ou=groups," + Base
)

// Content is what a directory holds.
type Content struct {
	People map[string]string   // uid: mail
	Groups map[string][]string // cn: uids of people, or `cn=…` of groups, who are in it
	Posix  map[string][]string // cn: uids of people, in groups that know them by that
}

// GroupDN is where a group is.
func GroupDN(cn string) string { return "cn=" + cn + "," + groups }

func personDN(uid string) string { return "uid=" + uid + "," + people }

// member is the DN of who is in a group.
func member(who string) string {
	if strings.HasPrefix(who, "cn=") {
		return who + "," + groups
	}
	return personDN(who)
}

// memberOf are the groups that a DN is in.
func (c Content) memberOf(dn string) []string {
	var out []string
	for cn, members := range c.Groups {
		if slices.ContainsFunc(members, func(m string) bool { return strings.EqualFold(member(m), dn) }) {
			out = append(out, GroupDN(cn))
		}
	}
	slices.Sort(out)
	return out
}

// uid is that of a person.
func (c Content) uid(dn string) []string {
	for uid := range c.People {
		if strings.EqualFold(dn, personDN(uid)) {
			return []string{uid}
		}
	}
	return nil
}

// height is how many groups lie below a group, one in the other.
func (c Content) height(cn string) int {
	var h int
	for _, m := range c.Groups[cn] {
		if below, ok := strings.CutPrefix(m, "cn="); ok {
			h = max(h, 1+c.height(below))
		}
	}
	return h
}

// find are the DNs that a filter like (mail=a@b) fits.
func (c Content) find(filter string) []string {
	var out []string
	for uid, mail := range c.People {
		if filter == "(mail="+mail+")" || filter == "(uid="+uid+")" || filter == "(objectClass=inetOrgPerson)" {
			out = append(out, personDN(uid))
		}
	}
	return append(out, c.naming(filter)...)
}

// naming are the DNs of the groups that a filter like (member=…) or (memberUid=…) fits.
func (c Content) naming(filter string) []string {
	var out []string
	for cn, members := range c.Groups {
		if slices.ContainsFunc(members, func(m string) bool { return strings.EqualFold(filter, "(member="+ldap.EscapeFilter(member(m))+")") }) {
			out = append(out, GroupDN(cn))
		}
	}
	for cn, members := range c.Posix {
		if slices.ContainsFunc(members, func(m string) bool { return filter == "(memberUid="+ldap.EscapeFilter(m)+")" }) {
			out = append(out, GroupDN(cn))
		}
	}
	return out
}

// holds reports whether there is something at a DN.
func (c Content) holds(dn string) bool {
	for cn := range c.Groups {
		if strings.EqualFold(dn, GroupDN(cn)) {
			return true
		}
	}
	for uid := range c.People {
		if strings.EqualFold(dn, personDN(uid)) {
			return true
		}
	}
	return strings.EqualFold(dn, Base)
}
