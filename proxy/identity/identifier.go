package identity

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/scheduler"
)

// Deps is what an Identifier needs of its surroundings.
type Deps struct {
	Logger *slog.Logger // nil: none
	Client *http.Client // for JWKS and Open WebUI; nil: a plain one
	// LDAPRoots are whose certificates an LDAP server may have; nil: the system's.
	LDAPRoots *x509.CertPool
	Metrics   prometheus.Registerer // nil: none
}

// Identifier says who is calling. It is safe for concurrent use.
type Identifier struct {
	cfg      Config
	headers  Forwarded // as net/http keeps their names
	believed []string  // these, and in open mode the one that Open WebUI signs
	issuers  []*issuer
	byHeader map[string][]*issuer
	signed   []string // headers of issuers other than Authorization
	open     bool
	keys     atomic.Pointer[keyRing]
	sessions *sessions  // nil: Open WebUI is not asked
	groupsOf *directory // nil: no LDAP
	failures *failures
	lookups  *prometheus.CounterVec
	logger   *slog.Logger

	certificate, nobody, trust flow // what arrives by client certificate, with no proof, in open mode

	life   sync.Mutex
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// New checks the configuration. The error joins all that is wrong, each with the
// path of its key.
func New(cfg Config, deps Deps) (*Identifier, error) {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	if deps.Client == nil {
		deps.Client = &http.Client{Timeout: fetchTimeout}
	}
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ring, err := newKeyRing(cfg.APIKeys, cfg.KeyFile, nil)
	if err != nil {
		return nil, err
	}
	i := &Identifier{cfg: cfg, headers: cfg.Forwarded.canonical(), open: cfg.Open(), byHeader: map[string][]*issuer{}, failures: newFailures(cfg.FailedCredentials), logger: deps.Logger}
	i.certificate.name, i.nobody.name, i.trust.name = "client-certificate", "no key", "open mode"
	for _, h := range i.headers.named() {
		i.believed = append(i.believed, *h.value)
	}
	if i.open {
		i.believed = append(i.believed, openWebUISigned)
	}
	i.keys.Store(ring)
	for n := range cfg.JWT {
		s := newIssuer(&cfg.JWT[n], deps)
		i.issuers = append(i.issuers, s)
		if s.header != authorization && i.byHeader[s.header] == nil {
			i.signed = append(i.signed, s.header)
		}
		i.byHeader[s.header] = append(i.byHeader[s.header], s)
	}
	return i, i.consult(deps)
}

// readsBearers reports whether some issuer's tokens come in Authorization.
func (i *Identifier) readsBearers() bool { return len(i.byHeader[authorization]) > 0 }

// OpenMode reports whether nothing is verified.
func (i *Identifier) OpenMode() bool { return i.open }

// Start begins to fetch the issuers' keys. It does not wait for them. A second
// Start is nothing.
func (i *Identifier) Start(ctx context.Context) {
	i.life.Lock()
	defer i.life.Unlock()
	if i.cancel != nil {
		return
	}
	ctx, i.cancel = context.WithCancel(ctx)
	for _, s := range i.issuers {
		if s.keys != nil {
			i.done.Go(func() { s.keys.run(ctx) })
		}
	}
}

// Stop ends the fetching, and what is asked of others, and waits for it. What was
// fetched stays. A second Stop is nothing.
func (i *Identifier) Stop() {
	i.life.Lock()
	defer i.life.Unlock()
	if i.sessions != nil {
		i.sessions.memo.stop()
	}
	if i.groupsOf != nil {
		i.groupsOf.stop()
	}
	if i.cancel != nil {
		i.cancel()
		i.done.Wait()
		i.cancel = nil
	}
}

// Identify finds out who sends r. It reads headers only, and waits only for the
// keys of an issuer, for Open WebUI and for LDAP, see the package's comment; then no
// longer than r's context.
// With a problem comes an identity that holds the address and nothing else.
func (i *Identifier) Identify(r *http.Request) (*Identity, *scheduler.Problem) {
	addr := i.client(r)
	ip := unknownAddress
	if addr.IsValid() {
		ip = addr.String()
	}
	identify := i.byProof
	if i.open {
		identify = i.onTrust
	}
	id, problem := identify(&Identity{Addr: addr, IP: ip}, r)
	if problem = i.failures.judge(id, addr, problem); problem != nil {
		return &Identity{Addr: addr, IP: ip}, problem
	}
	i.addGroups(r.Context(), id)
	return id, nil
}

func (i *Identifier) byProof(id *Identity, r *http.Request) (*Identity, *scheduler.Problem) {
	signer, c, problem := i.signature(r)
	shown, ok := credentialOf(r.Header)
	switch {
	case problem != nil:
		return nil, problem
	case signer != nil:
		return i.bySignature(id, r, signer, c)
	case ok && (i.keys.Load().file || i.readsBearers() || i.sessions != nil):
		return i.byCredential(id, r, shown)
	case certified(r):
		return i.forwarded(id, r, &i.certificate)
	case ok:
		return nil, refuse(or(shown.reason, ReasonUnknownKey))
	default:
		return i.byAddress(id, r)
	}
}

// signature verifies the signed headers that are there. All have to be good; the
// first says who it is. Nil: there is none.
func (i *Identifier) signature(r *http.Request) (*issuer, claims, *scheduler.Problem) {
	var signer *issuer
	var said claims
	for _, header := range i.signed {
		values := r.Header[header]
		if len(values) == 0 {
			continue
		}
		shown := single(values, values[0])
		if shown.reason != "" {
			return nil, nil, refuse(shown.reason)
		}
		s, c, problem := i.verify(r.Context(), header, shown.token)
		if problem != nil {
			return nil, nil, problem
		}
		if signer == nil {
			signer, said = s, c
		}
	}
	return signer, said, nil
}

// bySignature believes a signed header. Where keys are configured one has to come
// with it; if that is a forwarder's, so are its other headers believed.
func (i *Identifier) bySignature(id *Identity, r *http.Request, signer *issuer, c claims) (*Identity, *scheduler.Problem) {
	via := &signer.flow
	if ring := i.keys.Load(); ring.file {
		shown, ok := credentialOf(r.Header)
		switch e, reason := ring.key(shown); {
		case e != nil:
			id.KeyID, id.Forwarder, via = e.ID, e.Forwarder, e.flow
		case !ok && certified(r):
			id.Forwarder, via = true, &i.certificate
		case reason == ReasonExpiredKey:
			return nil, refuse(reason)
		default:
			return nil, refuse(ReasonNoKeyBeside)
		}
	}
	i.byClaims(id, signer, c)
	if id.Forwarder {
		if p := i.sentTwice(r); p != nil {
			return nil, p
		}
		i.extras(id, r, via)
		i.arrived(r, via, true)
	} else {
		i.ignored(r, via)
	}
	return id, nil
}

// byCredential is for a bearer: a key, else a token, else nothing.
func (i *Identifier) byCredential(id *Identity, r *http.Request, shown credential) (*Identity, *scheduler.Problem) {
	e, reason := i.keys.Load().key(shown)
	switch {
	case e != nil && e.Forwarder:
		id.KeyID, id.Roles, id.Groups = e.ID, e.Roles, e.Groups
		return i.forwarded(id, r, e.flow)
	case e != nil:
		i.byKey(id, e)
		i.ignored(r, e.flow)
		return id, nil
	case reason != ReasonUnknownKey:
		return nil, refuse(reason)
	case i.sessions != nil && maySession(shown.token) && !i.claimed(shown.token):
		return i.bySession(id, r, shown.token)
	case !i.readsBearers() || !looksLikeToken(shown.token):
		return nil, refuse(reason)
	}
	signer, c, problem := i.verify(r.Context(), authorization, shown.token)
	if problem != nil {
		return nil, problem
	}
	i.byClaims(id, signer, c)
	i.ignored(r, &signer.flow)
	return id, nil
}

func (i *Identifier) byKey(id *Identity, e *entry) {
	id.KeyID, id.AuthType, id.Verified = e.ID, AuthAPIKey, true
	id.ID, id.Email, id.Roles, id.Groups = e.User, e.Email, e.Roles, e.Groups
	id.Name = or(e.Name, or(e.Email, or(e.User, e.ID)))
	if e.User == "" && e.Email == "" {
		id.UserKey = "key:" + e.ID
		return
	}
	i.name(id, "key")
}

func (i *Identifier) byClaims(id *Identity, s *issuer, c claims) {
	id.Issuer, id.AuthType, id.Verified = s.Name, AuthJWT, true
	id.ID, id.Email = clean(c.text(s.UserClaim), maxID), s.email(c)
	id.Roles, id.Groups = c.list(s.RolesClaim), c.list(s.GroupsClaim)
	id.Name = clean(c.text(s.NameClaim), maxName)
	i.person(id, s.Name)
}

// person names somebody whose id a way vouches for, and no more. One that looks
// like an email and is not the one that is known may be somebody else's: it is
// kept apart by the way. What LinkBy none makes of it is apart already.
func (i *Identifier) person(id *Identity, way string) {
	own := or(id.ID, id.Email)
	if strings.Contains(id.ID, "@") && (id.Email == "" || email(id.ID) != id.Email) {
		id.ID = way + "/" + id.ID
	}
	i.name(id, way)
	if i.cfg.LinkBy == LinkNone {
		id.UserKey = "user:" + way + "/" + own
	}
}

// name gives a person that came by a way its user key, and a name for people.
func (i *Identifier) name(id *Identity, way string) {
	id.ID = or(id.ID, id.Email)
	switch {
	case i.cfg.LinkBy == LinkNone:
		id.UserKey = "user:" + way + "/" + id.ID
	case id.Email != "":
		id.UserKey = "user:" + id.Email
	case strings.Contains(id.ID, "@"):
		id.UserKey = "user:" + strings.ToLower(id.ID)
	default:
		id.UserKey = "user:" + id.ID
	}
	id.Name = or(id.Name, or(id.Email, id.ID))
}

// byAddress is for who shows nothing.
func (i *Identifier) byAddress(id *Identity, r *http.Request) (*Identity, *scheduler.Problem) {
	if !i.open {
		i.ignored(r, &i.nobody)
	}
	if i.cfg.Anonymous == AnonymousDeny {
		return nil, i.missing()
	}
	id.UserKey, id.Name = addressKey(id.Addr), id.IP
	id.AuthType, id.Anonymous = AuthAnonymous, true
	return id, nil
}

func (i *Identifier) missing() *scheduler.Problem {
	if i.open {
		return unauthorized(ReasonMissing, "nobody is served here without a name: "+
			"call through Open WebUI, with ENABLE_FORWARD_USER_INFO_HEADERS=true")
	}
	return refuse(ReasonMissing)
}
