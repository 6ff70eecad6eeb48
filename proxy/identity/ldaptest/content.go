package ldaptest

import (
	"slices"
	"strings"
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
