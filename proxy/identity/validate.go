package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// faults collects what is wrong with a configuration.
type faults struct{ errs []error }

func (f *faults) add(path, format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
}

func (f *faults) oneOf(path, v string, known ...string) {
	if !slices.Contains(known, v) {
		f.add(path, "%q is none of %s", v, strings.Join(known, ", "))
	}
}

// validate expects the defaults to be filled in.
func (c *Config) validate() error {
	f := &faults{}
	f.oneOf("identity.link_by", c.LinkBy, LinkEmail, LinkNone)
	f.oneOf("identity.anonymous", c.Anonymous, AnonymousAllow, AnonymousDeny)
	header := regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // RFC 9110, 5.6.2
	for _, h := range c.Forwarded.named() {
		if !header.MatchString(*h.value) {
			f.add("identity.forwarded."+h.key, "%q cannot be the name of a header", *h.value)
		}
	}
	names := map[string]bool{}
	for i := range c.JWT {
		j, path := &c.JWT[i], fmt.Sprintf("identity.jwt[%d]", i)
		if j.Name == "" || names[j.Name] {
			f.add(path+".name", "%q is empty or taken: every issuer needs a name of its own", j.Name)
		}
		names[j.Name] = true
		if !header.MatchString(j.Header) {
			f.add(path+".header", "%q cannot be the name of a header", j.Header)
		}
		j.validate(f, path)
	}
	if c.LDAP.URL != "" {
		c.LDAP.validate(f)
	}
	if _, err := newKeyRing(c.APIKeys, c.KeyFile, nil); err != nil {
		f.errs = append(f.errs, err)
	}
	return errors.Join(f.errs...)
}

func (l *LDAP) validate(f *faults) {
	const path = "identity.ldap"
	servers := l.urls()
	if servers == nil {
		f.add(path+".url", "is no URL like ldaps://ldap.example.com, or several by commas")
	}
	if l.StartTLS && slices.ContainsFunc(servers, func(u *url.URL) bool { return u.Scheme == ldaps }) {
		f.add(path+".start_tls", "is true, and ldaps:// is encrypted from the beginning: take one of them")
	}
	if l.BaseDN == "" {
		f.add(path+".base_dn", "is empty: say where people are looked for, like dc=example,dc=com")
	}
	if l.BindDN != "" && l.BindPassword == "" {
		f.add(path+".bind_password", "is empty: with bind_dn alone a server lets anybody in, and shows them little")
	}
	if !fillable(l.UserFilter) {
		f.add(path+".user_filter", "%q is no filter with %%s once, like (mail=%%s)", l.UserFilter)
	}
	if l.GroupFilter != "" && !fillable(l.GroupFilter) {
		f.add(path+".group_filter", "%q is no filter with %%s once, like (member=%%s)", l.GroupFilter)
	}
	f.oneOf(path+".user", l.User, UserEmail, UserID)
	if l.Cache < 0 {
		f.add(path+".cache", "%v is negative", l.Cache)
	}
}

// fillable reports whether a filter is one with a value in it.
func fillable(filter string) bool {
	_, err := ldap.CompileFilter(filled(filter, "x"))
	return err == nil && strings.Count(filter, "%s") == 1
}

func (j *Issuer) validate(f *faults, path string) {
	switch {
	case j.Secret == "" && j.JWKSURL == "":
		f.add(path+".secret", "is empty, and there is no jwks_url: one of them has to say how tokens are verified")
		return
	case j.Secret != "" && j.JWKSURL != "":
		f.add(path+".secret", "is set beside jwks_url: an issuer signs with a secret or with its own keys, not with both")
	case j.JWKSURL != "":
		u, err := url.Parse(j.JWKSURL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			f.add(path+".jwks_url", "%q is no URL like https://sso.example.com/certs", j.JWKSURL)
		}
		if j.Issuer == "" {
			f.add(path+".issuer", "is empty: name the iss of its tokens, for others may sign with keys from the same place")
		}
	}
	symmetric := []string{"HS256", "HS384", "HS512"}
	known := []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	if j.Secret != "" {
		known = symmetric
	}
	for _, a := range j.Algorithms {
		switch {
		case slices.Contains(known, a):
		case j.Secret != "":
			f.add(path+".algorithms", "%q does not go with a secret; %s do", a, strings.Join(known, ", "))
		default:
			f.add(path+".algorithms", "%q does not go with a jwks_url; %s do", a, strings.Join(known, ", "))
		}
	}
	if j.Leeway < 0 {
		f.add(path+".leeway", "%v is negative", j.Leeway)
	}
}

// digestOf reads the hex of a SHA-256.
func digestOf(s string) (digest [sha256.Size]byte, err error) {
	raw, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil || len(raw) != len(digest) {
		return digest, errors.New("is no SHA-256 in hex, 64 digits: printf %s KEY | sha256sum")
	}
	copy(digest[:], raw)
	return digest, nil
}
