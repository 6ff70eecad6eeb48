package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// MemberDN is an LDAP.GroupMember: groups name their members by DN.
const MemberDN = "dn"

// What LDAP.User may be.
const (
	UserEmail = "email" // the filter's %s is the person's email
	UserID    = "id"    // it is their id
)

// LDAP says where groups are looked up. Without a URL they are not.
type LDAP struct {
	URL            string // ldap:// or ldaps://; several, by commas, are tried in turn
	StartTLS       bool
	BindDN         string // empty: anonymous
	BindPassword   string
	BaseDN         string
	UserFilter     string // with %s for the person; empty: (mail=%s)
	User           string // email | id; empty: email
	GroupAttribute string // of the person; empty: memberOf
	// GroupFilter finds the groups that say themselves who is in them, with %s for who:
	// (member=%s), or (memberUid=%s). Empty: only what the person's entry says counts.
	GroupFilter string
	GroupBaseDN string // where; empty: BaseDN
	GroupMember string // what %s is: dn, the person's own, or an attribute of theirs, like uid; empty: dn
	Nested      bool   // groups of groups count too
	// Cache is how long an answer is used without asking again. Afterwards it is used
	// once more while a new one is asked for.
	Cache time.Duration
}

// WithDefaults is l with the defaults where it says nothing.
func (l LDAP) WithDefaults() LDAP {
	l.UserFilter = or(l.UserFilter, "(mail=%s)")
	l.User = or(l.User, UserEmail)
	l.GroupAttribute = or(l.GroupAttribute, "memberOf")
	l.GroupBaseDN = or(l.GroupBaseDN, l.BaseDN)
	l.GroupMember = or(l.GroupMember, MemberDN)
	return l
}

// ldapWait is how long the first request of a person waits for their groups.
const ldapWait = time.Second

// link is a connection that is bound and waits for a question.
type link struct {
	*ldap.Conn
	raw net.Conn // for deadlines: the library has none for a handshake
}

func (l *link) shut() {
	_ = l.raw.Close() // first, so that the library finds nothing to wait for
	_ = l.Close()
}

// directory knows the groups of people.
type directory struct {
	LDAP
	servers []ldapServer
	idle    chan *link
	memo    *memo[[]string]
}

type ldapServer struct {
	address string
	tls     *tls.Config // nil: neither ldaps:// nor StartTLS
}

func newDirectory(cfg LDAP, roots *x509.CertPool, tell func(error)) *directory {
	d := &directory{LDAP: cfg, idle: make(chan *link, maxAtOnce), memo: newMemo[[]string](ldapWait, tell)}
	for _, u := range cfg.urls() {
		port := "389"
		if u.Scheme == ldaps {
			port = "636"
		}
		s := ldapServer{address: net.JoinHostPort(u.Hostname(), or(u.Port(), port))}
		if u.Scheme == ldaps || cfg.StartTLS {
			s.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: u.Hostname(), RootCAs: roots}
		}
		d.servers = append(d.servers, s)
	}
	return d
}

const ldaps = "ldaps"

// urls are those of the servers; nil: one of them is none.
func (l *LDAP) urls() []*url.URL {
	var out []*url.URL
	for one := range strings.SplitSeq(l.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Hostname() == "" || u.Scheme != "ldap" && u.Scheme != ldaps {
			return nil
		}
		out = append(out, u)
	}
	return out
}

func (d *directory) stop() {
	d.memo.stop()
	for {
		select {
		case l := <-d.idle:
			l.shut()
		default:
			return
		}
	}
}

// groups are what the directory says of a person; nothing while it says nothing.
func (d *directory) groups(ctx context.Context, id *Identity) ([]string, error) {
	who := id.Email
	if d.User == UserID {
		who = id.ID
	}
	if who == "" {
		return nil, nil
	}
	return d.memo.get(ctx, who, func(ctx context.Context) (answer[[]string], error) { return d.lookup(ctx, who) })
}

// lookup asks the directory: by a connection that is there, or, if that has died
// since, by a new one.
func (d *directory) lookup(ctx context.Context, who string) (answer[[]string], error) {
	groups, err := d.with(ctx, d.spare(), who)
	if errors.Is(err, errDied) {
		groups, err = d.with(ctx, nil, who)
	}
	if err != nil {
		return answer[[]string]{}, err
	}
	out := answer[[]string]{value: groups, fresh: d.Cache, good: d.Cache + whileAway}
	if len(groups) == 0 {
		out.fresh = min(d.Cache, soonAnother)
	}
	return out, nil
}

// errDied tells that a connection had been closed while it waited.
var errDied = errors.New("the connection to the directory was closed")

func (d *directory) spare() *link {
	for {
		select {
		case l := <-d.idle:
			if !l.IsClosing() {
				return l
			}
			l.shut()
		default:
			return nil
		}
	}
}

// with asks over a connection, or a new one if it is nil, and keeps it for the next
// question if it is still good.
func (d *directory) with(ctx context.Context, l *link, who string) ([]string, error) {
	used := l != nil
	if l == nil {
		var err error
		if l, err = d.dial(ctx); err != nil {
			return nil, err
		}
	}
	unwatch := context.AfterFunc(ctx, func() { _ = l.raw.Close() })
	groups, err := d.search(l, who)
	if err != nil || !unwatch() {
		l.shut()
		if used && ctx.Err() == nil {
			return nil, errDied
		}
		if err != nil {
			return nil, fmt.Errorf("LDAP at %s: %w", l.raw.RemoteAddr(), err)
		}
		return groups, nil
	}
	select {
	case d.idle <- l:
	default:
		l.shut()
	}
	return groups, nil
}

// dial connects to the first server that lets us, within the time that ctx gives.
func (d *directory) dial(ctx context.Context) (*link, error) {
	var errs []error
	for _, s := range d.servers {
		ctx, cancel := context.WithTimeout(ctx, askTimeout/time.Duration(len(d.servers)))
		l, err := d.connect(ctx, s)
		cancel()
		if err == nil {
			return l, nil
		}
		errs = append(errs, fmt.Errorf("LDAP at %s: %w", s.address, err))
	}
	return nil, errors.Join(errs...)
}

// connect binds, too.
func (d *directory) connect(ctx context.Context, s ldapServer) (*link, error) {
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
	if err != nil {
		return nil, err
	}
	unwatch := context.AfterFunc(ctx, func() { _ = raw.Close() })
	defer unwatch()
	conn := raw
	if s.tls != nil && !d.StartTLS {
		secured := tls.Client(raw, s.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		conn = secured
	}
	l := &link{Conn: ldap.NewConn(conn, conn != raw), raw: raw}
	l.SetTimeout(askTimeout)
	l.Start()
	if err := d.greet(l, s.tls); err != nil {
		l.shut()
		return nil, err
	}
	return l, nil
}

func (d *directory) greet(l *link, secure *tls.Config) error {
	if d.StartTLS {
		if err := l.StartTLS(secure); err != nil {
			return fmt.Errorf("StartTLS: %w", err)
		}
	}
	if d.BindDN == "" {
		return nil
	}
	if err := l.Bind(d.BindDN, d.BindPassword); err != nil {
		return fmt.Errorf("bind as %s: %w", d.BindDN, err)
	}
	return nil
}
