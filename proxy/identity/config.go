package identity

import (
	"net/http"
	"net/netip"
	"slices"
	"time"
)

// What LinkBy and Anonymous may be.
const (
	LinkEmail = "email" // the same email is the same person
	LinkNone  = "none"  // every way has its own persons

	AnonymousAllow = "allow" // by address
	AnonymousDeny  = "deny"
)

// Config is the identity section of the configuration.
type Config struct {
	// KeyFile tells that api_keys.file is configured, however many keys are in it.
	KeyFile        bool
	APIKeys        []Key
	JWT            []Issuer
	Forwarded      Forwarded
	LinkBy         string // email | none; empty: email
	Anonymous      string // allow | deny; empty: allow
	TrustedProxies []netip.Prefix

	OpenWebUISessions string // base URL of the Open WebUI to ask about session tokens; empty: none is
	LDAP              LDAP   // without a URL nobody's groups are looked up
	// FailedCredentials is how many credentials of one address may fail; none: any.
	FailedCredentials Rate
}

// Rate is so many in a time, all of them at once or evenly.
type Rate struct {
	N   int
	Per time.Duration
}

// Key is an API key. The key itself is not kept anywhere.
type Key struct {
	ID        string
	SHA256    string // of the key, in hex
	User      string // whose it is; empty: the key stands for itself. One with an @ is an email too
	Email     string
	Name      string
	Roles     []string
	Groups    []string
	Expires   time.Time // zero: never
	Forwarder bool      // no person: believed about who sits behind it
}

// Issuer signs tokens.
type Issuer struct {
	Name       string
	Header     string   // empty: Authorization
	Algorithms []string // empty: HS256 with a secret; RS256, ES256, EdDSA with a JWKS
	Secret     string   // for HS…
	JWKSURL    string   // for all others
	Issuer     string   // iss; may be empty with a secret only
	Audience   string   // aud; empty: any

	// Claims are named by a path: `role`, `realm_access.roles`.
	UserClaim   string // empty: sub
	EmailClaim  string // empty: `email`, if email_verified is true
	NameClaim   string // empty: name
	RolesClaim  string // string, list or space-separated; empty: none
	GroupsClaim string

	Leeway time.Duration // for clocks that differ; 0: 30 s
}

// Forwarded are the names of the headers that a forwarder is believed.
type Forwarded struct {
	User, Email, Name, Role       string
	Groups, GroupIDs              string
	Task, Message, Chat, AuthType string
}

// DefaultForwarded are the names as Open WebUI sends them, and those that the
// documentation asks an admin to add to its connection.
func DefaultForwarded() Forwarded {
	return Forwarded{
		User:     "X-OpenWebUI-User-Id",
		Email:    "X-OpenWebUI-User-Email",
		Name:     "X-OpenWebUI-User-Name",
		Role:     "X-OpenWebUI-User-Role",
		Groups:   "X-User-Groups",
		GroupIDs: "X-User-Group-Ids",
		Task:     "X-Task",
		Message:  "X-Message-Id",
		Chat:     "X-OpenWebUI-Chat-Id",
		AuthType: "X-OpenWebUI-Auth-Type",
	}
}

// Open reports whether nothing can be verified: there is neither a key file nor an
// issuer, nor an Open WebUI to ask.
func (c Config) Open() bool {
	return !c.KeyFile && len(c.APIKeys) == 0 && len(c.JWT) == 0 && c.OpenWebUISessions == ""
}

// Rekey is c, by which a process runs, with the keys of next. False: they have to
// wait for a restart, for with them the process would leave open mode or enter it,
// and it stays as it is.
func (c Config) Rekey(next Config) (Config, bool) {
	out := c
	out.KeyFile, out.APIKeys = next.KeyFile, next.APIKeys
	if out.Open() != c.Open() {
		return c, false
	}
	return out, true
}

// WithDefaults is c with the defaults where it says nothing.
func (c Config) WithDefaults() Config {
	c.KeyFile = c.KeyFile || len(c.APIKeys) > 0
	c.LinkBy = or(c.LinkBy, LinkEmail)
	c.Anonymous = or(c.Anonymous, AnonymousAllow)
	d := DefaultForwarded()
	standard := d.named()
	for i, h := range c.Forwarded.named() {
		*h.value = or(*h.value, *standard[i].value)
	}
	c.LDAP = c.LDAP.WithDefaults()
	c.JWT = slices.Clone(c.JWT)
	for i := range c.JWT {
		c.JWT[i] = c.JWT[i].WithDefaults()
	}
	return c
}

// WithDefaults is j with the defaults where it says nothing.
func (j Issuer) WithDefaults() Issuer {
	j.Header = or(j.Header, authorization)
	j.UserClaim = or(j.UserClaim, "sub")
	j.NameClaim = or(j.NameClaim, "name")
	if j.Leeway == 0 {
		j.Leeway = 30 * time.Second
	}
	switch {
	case len(j.Algorithms) > 0:
	case j.JWKSURL != "":
		j.Algorithms = []string{"RS256", "ES256", "EdDSA"}
	default:
		j.Algorithms = []string{"HS256"}
	}
	return j
}

func or[T ~string](s, otherwise T) T {
	if s == "" {
		return otherwise
	}
	return s
}

type namedHeader struct {
	key   string // in the configuration
	value *string
}

// named are the headers with their keys, always in the same order.
func (f *Forwarded) named() []namedHeader {
	return []namedHeader{
		{"user", &f.User},
		{"email", &f.Email},
		{"name", &f.Name},
		{"role", &f.Role},
		{"groups", &f.Groups},
		{"group_ids", &f.GroupIDs},
		{"task", &f.Task},
		{"message", &f.Message},
		{"chat", &f.Chat},
		{"auth_type", &f.AuthType},
	}
}

// canonical is f with the names as net/http keeps them.
func (f Forwarded) canonical() Forwarded {
	for _, h := range f.named() {
		*h.value = http.CanonicalHeaderKey(*h.value)
	}
	return f
}
