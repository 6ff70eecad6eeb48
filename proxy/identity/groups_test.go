package identity

import (
	"slices"
	"strings"
	"testing"
	"time"

	"fairlane/proxy/identity/ldaptest"
)

// TestLDAPGroupsThatNameTheirMembers by DN, as groupOfNames does, or by uid, as
// posixGroup does. The person's own entry says nothing.
func TestLDAPGroupsThatNameTheirMembers(t *testing.T) {
	directories(t, func(s site) {
		t := s.t
		for name, tc := range map[string]struct {
			change func(*LDAP)
			want   []string // of their CNs
		}{
			"member":         {func(l *LDAP) { l.GroupFilter = "(member=%s)" }, []string{"interns"}},
			"member, nested": {func(l *LDAP) { l.GroupFilter, l.Nested = "(member=%s)", true }, []string{"all", "interns", "staff"}},
			"memberUid":      {func(l *LDAP) { l.GroupFilter, l.GroupMember = "(memberUid=%s)", "uid" }, []string{"games"}},
			"memberUid, nested": {
				func(l *LDAP) { l.GroupFilter, l.GroupMember, l.Nested = "(memberUid=%s)", "UID", true }, []string{"games"},
			},
			"somewhere else": {func(l *LDAP) { l.GroupFilter, l.GroupBaseDN = "(member=%s)", "ou=nowhere,"+ldaptest.Base }, nil},
			"of the entry, too": {
				func(l *LDAP) { l.GroupFilter, l.GroupMember, l.GroupAttribute = "(memberUid=%s)", "uid", "memberOf" }, []string{"games", "interns"},
			},
		} {
			l := s.l
			l.GroupAttribute = "description" // nobody has one
			tc.change(&l)
			i, log := withLDAP(t, l, s.roots)
			got := groupsOf(t, i, "bob@example.com")
			cns := slices.DeleteFunc(slices.Clone(got), func(g string) bool { return g == "own" || strings.Contains(g, "=") })
			slices.Sort(cns)
			if !slices.Equal(cns, tc.want) || log.count("does not answer") > 0 {
				t.Errorf("%s: %q, want %q", name, got, tc.want)
			}
			for _, cn := range tc.want {
				if !slices.Contains(got, ldaptest.GroupDN(cn)) {
					t.Errorf("%s: %q lacks the DN of %s", name, got, cn)
				}
			}
			if got := groupsOf(t, i, "nobody@example.com"); !slices.Equal(got, []string{"own"}) {
				t.Errorf("%s: nobody has %q", name, got)
			}
		}
		l := s.l
		l.GroupFilter, l.GroupBaseDN = "(member=%s)", "dc=nowhere"
		if err := CheckLDAP(t.Context(), l, s.roots); err == nil || !strings.Contains(err.Error(), "group_base_dn") {
			t.Errorf("a base that is not there: %v", err)
		}
	})
}

// TestLDAPCirclesEnd: groups that are in each other are read once each.
func TestLDAPCirclesEnd(t *testing.T) {
	c := someDirectory()
	c.Groups["vip"] = append(c.Groups["vip"], "cn=all")
	s := ldaptest.Serve(t, c, nil, false)
	for _, filter := range []string{"", "(member=%s)"} {
		l := askLDAP("ldap://" + s.Address)
		l.Nested, l.GroupFilter = true, filter
		i, _ := withLDAP(t, l, nil)
		if got := groupsOf(t, i, "anna@example.com"); !slices.Contains(got, "all") || !slices.Contains(got, "vip") {
			t.Errorf("%q", got)
		}
	}
}

func TestLDAPFilters(t *testing.T) {
	for filter, good := range map[string]bool{
		"(member=%s)": true, "(&(objectClass=groupOfNames)(member:1.2.840.113556.1.4.1941:=%s))": true, "": true,
		"(member=x)": false, "member=%s)(": false, "(|(member=%s)(memberUid=%s))": false,
	} {
		l := LDAP{URL: "ldap://x", BaseDN: ldaptest.Base, GroupFilter: filter, Cache: time.Minute}
		_, err := New(Config{LDAP: l}, Deps{})
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "identity.ldap.group_filter") {
			t.Errorf("%q: %v", filter, err)
		}
	}
}
