package ldaptest

import (
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// Server is a directory of this process.
type Server struct {
	Address  string
	Searches atomic.Int64 // how many there were
	Filters  sync.Map     // every filter that was asked for
	Mute     atomic.Bool  // nothing is answered

	content Content
	tls     *tls.Config
	l       net.Listener
	done    sync.WaitGroup
	mu      sync.Mutex
	conns   map[net.Conn]bool
}

// Serve serves a content on a port of its own, with ldaps:// if whole is set.
func Serve(t testing.TB, c Content, secure *tls.Config, whole bool) *Server {
	t.Helper()
	s := &Server{Address: "127.0.0.1:0", content: c, tls: secure, conns: map[net.Conn]bool{}}
	if err := s.Start(whole); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Start listens, after a Stop where it did before.
func (s *Server) Start(whole bool) (err error) {
	if s.l, err = net.Listen("tcp", s.Address); err != nil { //nolint:noctx // it is there at once
		return err
	}
	s.Address = s.l.Addr().String()
	l := s.l
	if whole {
		l = tls.NewListener(l, s.tls)
	}
	s.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[c] = true
			s.mu.Unlock()
			s.done.Go(func() { s.serve(c) })
		}
	})
	return nil
}

// Stop ends all connections. A second Stop is nothing.
func (s *Server) Stop() {
	_ = s.l.Close()
	s.Hangup()
	s.done.Wait()
}

// Hangup closes the connections, and takes new ones.
func (s *Server) Hangup() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
	clear(s.conns)
}

func (s *Server) serve(c net.Conn) {
	defer c.Close()
	bound := false
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		if s.Mute.Load() {
			continue
		}
		op, out := p.Children[1], reply{c, p.Children[0].Value}
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			bound = string(op.Children[1].ByteValue) == Binder && op.Children[2].Data.String() == Password
			out.result(ldap.ApplicationBindResponse, map[bool]int{true: ldap.LDAPResultSuccess, false: ldap.LDAPResultInvalidCredentials}[bound])
		case ldap.ApplicationSearchRequest:
			s.search(out, op, bound)
		case ldap.ApplicationExtendedRequest:
			out.result(ldap.ApplicationExtendedResponse, ldap.LDAPResultSuccess)
			c = tls.Server(c, s.tls)
		default:
			return
		}
	}
}

func (s *Server) search(out reply, op *ber.Packet, bound bool) {
	s.Searches.Add(1)
	base, scope := string(op.Children[0].ByteValue), op.Children[1].Value
	filter, err := ldap.DecompileFilter(op.Children[6])
	if err != nil || !bound {
		out.result(ldap.ApplicationSearchResultDone, ldap.LDAPResultInsufficientAccessRights)
		return
	}
	s.Filters.Store(filter, true)
	found := slices.DeleteFunc(s.content.find(filter), func(dn string) bool { return !strings.HasSuffix(dn, base) })
	if scope == int64(ldap.ScopeBaseObject) {
		if found = []string{base}; !s.content.holds(base) {
			out.result(ldap.ApplicationSearchResultDone, ldap.LDAPResultNoSuchObject)
			return
		}
	}
	for _, dn := range found {
		out.entry(dn, s.content.memberOf(dn), s.content.uid(dn))
	}
	out.result(ldap.ApplicationSearchResultDone, ldap.LDAPResultSuccess)
}

// reply answers one message.
type reply struct {
	c  net.Conn
	id any
}

func (r reply) send(op *ber.Packet) {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, r.id, ""))
	p.AppendChild(op)
	_, _ = r.c.Write(p.Bytes()) // whoever does not read it is gone
}

func text(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func (r reply) result(tag ber.Tag, code int) {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	op.AppendChild(text(""))
	op.AppendChild(text(""))
	r.send(op)
}

func (r reply) entry(dn string, memberOf, uid []string) {
	list := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for name, values := range map[string][]string{"memberOf": memberOf, "uid": uid} {
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(text(v))
		}
		attribute := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		attribute.AppendChild(text(name))
		attribute.AppendChild(set)
		list.AppendChild(attribute)
	}
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
	op.AppendChild(text(dn))
	op.AppendChild(list)
	r.send(op)
}
