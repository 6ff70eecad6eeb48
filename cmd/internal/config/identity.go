package config

import (
	"math"
	"net/netip"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
)

// keysPath is the place of the key file's entries in messages.
const keysPath = "keys"

// identity reads how callers are known.
func (c *Config) identity(s *section) {
	s.in("identity", func(s *section) {
		s.in("api_keys", c.keyFile)
		c.issuers(s)
		s.in("forwarded", c.forwarded)
		s.in("openwebui_sessions", func(s *section) {
			take(s, "url", &c.Identity.OpenWebUISessions, webURL("http://open-webui:8080"))
		})
		s.in("ldap", c.ldap)
		take(s, "link_by", &c.Identity.LinkBy, word(identity.LinkEmail, identity.LinkNone))
		take(s, "anonymous", &c.Identity.Anonymous, word(identity.AnonymousAllow, identity.AnonymousDeny))
		c.Identity.FailedCredentials = identity.Rate{N: 30, Per: time.Minute}
		take(s, "failed_credentials", &c.Identity.FailedCredentials, rate())
		takeList(s, "trusted_proxies", &c.Identity.TrustedProxies, network())
	})
	_, err := identity.New(c.Identity, identity.Deps{})
	s.adopt(err)
}

func (c *Config) issuers(s *section) {
	items, _ := s.items("jwt")
	c.Identity.JWT = make([]identity.Issuer, len(items))
	for i, item := range items {
		j := &c.Identity.JWT[i]
		take(item, "name", &j.Name, text())
		take(item, "header", &j.Header, text())
		takeList(item, "algorithms", &j.Algorithms, text())
		take(item, "secret", &j.Secret, secret())
		take(item, "jwks_url", &j.JWKSURL, webURL("https://sso.example.com/certs"))
		take(item, "issuer", &j.Issuer, text())
		take(item, "audience", &j.Audience, text())
		take(item, "user_claim", &j.UserClaim, text())
		take(item, "email_claim", &j.EmailClaim, text())
		take(item, "name_claim", &j.NameClaim, text())
		take(item, "roles_claim", &j.RolesClaim, text())
		take(item, "groups_claim", &j.GroupsClaim, text())
		take(item, "leeway", &j.Leeway, positive())
		item.done()
		*j = j.WithDefaults()
	}
}

func (c *Config) forwarded(s *section) {
	f := &c.Identity.Forwarded
	header := checked("the name of a header", func(s string) bool { return s != "" })
	take(s, "user", &f.User, header)
	take(s, "email", &f.Email, header)
	take(s, "name", &f.Name, header)
	take(s, "role", &f.Role, header)
	take(s, "groups", &f.Groups, header)
	take(s, "group_ids", &f.GroupIDs, header)
	take(s, "task", &f.Task, header)
	take(s, "message", &f.Message, header)
	take(s, "chat", &f.Chat, header)
	take(s, "auth_type", &f.AuthType, header)
}

func (c *Config) ldap(s *section) {
	l := &c.Identity.LDAP
	l.Cache = 5 * time.Minute
	take(s, "url", &l.URL, urls("ldaps://ldap.example.com", "ldap", "ldaps"))
	take(s, "start_tls", &l.StartTLS, flag())
	take(s, "ca_file", &c.LDAPCAFile, text())
	take(s, "bind_dn", &l.BindDN, text())
	take(s, "bind_password", &l.BindPassword, secret())
	take(s, "base_dn", &l.BaseDN, text())
	take(s, "user_filter", &l.UserFilter, filter("(mail=%s)"))
	take(s, "user", &l.User, word(identity.UserEmail, identity.UserID))
	take(s, "group_attribute", &l.GroupAttribute, text())
	take(s, "group_filter", &l.GroupFilter, optionally(filter("(member=%s)")))
	take(s, "group_base_dn", &l.GroupBaseDN, text())
	take(s, "group_member", &l.GroupMember, text())
	take(s, "nested", &l.Nested, flag())
	take(s, "cache", &l.Cache, duration(0))
	if c.LDAPCAFile != "" {
		c.LDAPCAFile = s.reader.path(c.LDAPCAFile)
	}
	if l.GroupFilter == "" && (l.GroupBaseDN != "" || l.GroupMember != identity.MemberDN) {
		s.fault(s.path+".group_filter", "is empty: group_base_dn and group_member say where and what it looks for, like (member=%%s)")
	}
	if strings.HasPrefix(strings.ToLower(l.URL), "ldap://") && !l.StartTLS && l.BindPassword != "" {
		s.warn(s.path+".url", "the password goes over the network in the clear: take ldaps://, or start_tls: true")
	}
}

// filter is one of LDAP, with a place for a value.
func filter(like string) kind[string] {
	return checked("a filter with %s once, like "+like, func(s string) bool {
		return strings.Count(s, "%") == 1 && strings.Count(s, "%s") == 1 && strings.HasPrefix(s, "(") && strings.HasSuffix(s, ")")
	})
}

// rate is one limit, of which only its number and its period count; empty: none.
func rate() kind[identity.Rate] {
	return kind[identity.Rate]{want: `one limit, like "30/minute"`, isText: true, parse: func(s string) (identity.Rate, error) {
		if strings.TrimSpace(s) == "" {
			return identity.Rate{}, nil
		}
		set, err := limit.Parse(s)
		switch {
		case err != nil:
			return identity.Rate{}, err
		case len(set) != 1 || set[0].Burst != set[0].N || set[0].N > math.MaxInt32:
			return identity.Rate{}, errNot
		}
		return identity.Rate{N: int(set[0].N), Per: set[0].Period}, nil
	}, show: func(r identity.Rate) string {
		if r.N == 0 {
			return ""
		}
		return limit.Limit{N: int64(r.N), Period: r.Per, Burst: int64(r.N)}.String()
	}}
}

// keyFile reads the keys, which stand in a file of their own.
func (c *Config) keyFile(s *section) {
	var name string
	s.hot = true
	take(s, "file", &name, text())
	if name == "" {
		return
	}
	name = s.reader.path(name)
	c.keyFileName = name
	data, err := s.read(name, maxFile)
	if err != nil {
		s.fault(s.path+".file", "the key file cannot be read: %v", err)
		return
	}
	c.Identity.KeyFile = true
	c.Files = append(c.Files, name)
	c.keys(s.reader, data, name)
}

func (c *Config) keys(r *reader, data []byte, name string) {
	r.marks[keysPath] = mark{file: name}
	root := r.document(data, name, keysPath)
	list := &section{reader: r, quiet: true, fields: map[string]*yaml.Node{keysPath: root}}
	items, _ := list.items(keysPath)
	c.Identity.APIKeys = make([]identity.Key, len(items))
	for i, item := range items {
		k := &c.Identity.APIKeys[i]
		take(item, "id", &k.ID, text())
		take(item, "sha256", &k.SHA256, secret())
		take(item, "user", &k.User, text())
		take(item, "email", &k.Email, text())
		take(item, "name", &k.Name, text())
		takeList(item, "roles", &k.Roles, text())
		takeList(item, "groups", &k.Groups, text())
		take(item, "expires", &k.Expires, date())
		take(item, "forwarder", &k.Forwarder, flag())
		item.done()
	}
}

// date is a day, which begins at midnight UTC, or a moment.
func date() kind[time.Time] {
	return kind[time.Time]{want: "a date like 2027-01-01 or 2027-01-01T12:00:00Z", isText: true, parse: func(s string) (time.Time, error) {
		for _, layout := range []string{time.DateOnly, time.RFC3339} {
			if t, err := time.Parse(layout, s); err == nil {
				return t, nil
			}
		}
		return time.Time{}, errNot
	}}
}

// network is a CIDR, or one address.
func network() kind[netip.Prefix] {
	return kind[netip.Prefix]{want: "a CIDR like 10.0.0.0/8", isText: true, parse: func(s string) (netip.Prefix, error) {
		if p, err := netip.ParsePrefix(s); err == nil {
			return p.Masked(), nil
		}
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, errNot
		}
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}}
}
