package identity

import (
	"crypto/x509"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"fairlane/proxy/identity/ldaptest"
)

func someDirectory() ldaptest.Content {
	return ldaptest.Content{
		People: map[string]string{"anna": "anna@example.com", "bob": "bob@example.com", "twin1": "twin@example.com", "twin2": "twin@example.com"},
		Groups: map[string][]string{"vip": {"anna"}, "interns": {"bob"}, "staff": {"cn=vip", "cn=interns"}, "all": {"cn=staff"}},
		Posix:  map[string][]string{"wheel": {"anna"}, "games": {"anna", "bob"}},
	}
}

func askLDAP(url string) LDAP {
	return LDAP{URL: url, BindDN: ldaptest.Binder, BindPassword: ldaptest.Password, BaseDN: ldaptest.Base, Cache: 5 * time.Minute}
}

// withLDAP is an identifier that believes forwarders and asks a directory.
func withLDAP(t *testing.T, l LDAP, roots *x509.CertPool) (*Identifier, *lines) {
	t.Helper()
	log := &lines{}
	i, err := New(Config{APIKeys: someKeys(), LDAP: l}, Deps{LDAPRoots: roots, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Stop)
	return i, log
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// groupsOf are the groups that somebody has who comes by Open WebUI.
func groupsOf(t *testing.T, i *Identifier, mail string) []string {
	t.Helper()
	id, problem := i.Identify(request(headers{"Authorization": "Bearer k-owui", "X-OpenWebUI-User-Email": mail, "X-User-Groups": "own"}))
	if problem != nil {
		t.Fatal(problem)
	}
	return id.Groups
}

// site is what a test of a directory has.
type site struct {
	t     *testing.T
	l     LDAP
	roots *x509.CertPool
}

// directories runs f on the directory of this process and on a real one, with each
// kind of encryption.
func directories(t *testing.T, f func(s site)) {
	t.Helper()
	cert, key, roots := ldaptest.Certificate(t)
	secure := ldaptest.TLS(t, cert, key)
	t.Run("own", func(t *testing.T) {
		plain, whole := ldaptest.Serve(t, someDirectory(), secure, false), ldaptest.Serve(t, someDirectory(), secure, true)
		encryptions(t, plain.Address, whole.Address, roots, f)
	})
	t.Run("slapd", func(t *testing.T) {
		s := ldaptest.StartSlapd(t, someDirectory(), cert, key)
		encryptions(t, s.Plain, s.Secure, roots, f)
	})
}

func encryptions(t *testing.T, plain, secure string, roots *x509.CertPool, f func(s site)) {
	t.Helper()
	start := askLDAP("ldap://" + plain)
	start.StartTLS = true
	for name, l := range map[string]LDAP{"plain": askLDAP("ldap://" + plain), "StartTLS": start, "ldaps": askLDAP("ldaps://" + secure)} {
		t.Run(name, func(t *testing.T) { f(site{t, l, roots}) })
	}
}

func TestLDAPGroups(t *testing.T) {
	directories(t, func(s site) {
		t, l, roots := s.t, s.l, s.roots
		i, _ := withLDAP(t, l, roots)
		if got, want := groupsOf(t, i, "Anna@example.com"), []string{"own", "vip", ldaptest.GroupDN("vip")}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		for _, mail := range []string{"nobody@example.com", "twin@example.com"} {
			if got := groupsOf(t, i, mail); !slices.Equal(got, []string{"own"}) {
				t.Errorf("%s: %q", mail, got)
			}
		}
		if n := counted(t, i, sourceLDAP, "found"); n != 1 {
			t.Errorf("%v were found", n)
		}
		if err := CheckLDAP(t.Context(), l, roots); err != nil {
			t.Error(err)
		}
	})
}

func TestLDAPNestedGroups(t *testing.T) {
	directories(t, func(s site) {
		t, l, roots := s.t, s.l, s.roots
		l.Nested = true
		i, _ := withLDAP(t, l, roots)
		got := groupsOf(t, i, "bob@example.com")
		for _, want := range []string{"own", "interns", "staff", "all", ldaptest.GroupDN("all")} {
			if !slices.Contains(got, want) {
				t.Errorf("%q lacks %s", got, want)
			}
		}
		if slices.Contains(got, "vip") {
			t.Errorf("%q", got)
		}
	})
}

func TestLDAPByID(t *testing.T) {
	directories(t, func(s site) {
		t, l, roots := s.t, s.l, s.roots
		l.User, l.UserFilter = UserID, "(uid=%s)"
		i, _ := withLDAP(t, l, roots)
		id, problem := i.Identify(request(headers{"Authorization": "Bearer k-owui", "X-OpenWebUI-User-Id": "bob"}))
		if problem != nil || !slices.Contains(id.Groups, "interns") {
			t.Errorf("%+v %v", id, problem)
		}
	})
}

// TestLDAPFilterInjection: what a person is called is a value of the filter,
// whatever it holds.
func TestLDAPFilterInjection(t *testing.T) {
	directories(t, func(s site) {
		t, l, roots := s.t, s.l, s.roots
		l.User, l.UserFilter = UserID, "(uid=%s)"
		i, _ := withLDAP(t, l, roots)
		for _, name := range []string{"*", "ann*", "anna)(objectClass=*", "x)(|(uid=anna", "anna\\2a", "\\61nna", "*)(uid=anna))(|(uid=*"} {
			id, problem := i.Identify(request(headers{"Authorization": "Bearer k-owui", "X-OpenWebUI-User-Id": name}))
			if problem != nil || len(id.Groups) > 0 {
				t.Errorf("%q: %+v %v", name, id, problem)
			}
		}
	})
}

func TestLDAPWrong(t *testing.T) {
	cert, key, roots := ldaptest.Certificate(t)
	s := ldaptest.Serve(t, someDirectory(), ldaptest.TLS(t, cert, key), true)
	other := ldaptest.Serve(t, someDirectory(), ldaptest.TLS(t, cert, key), false)
	_, _, strangers := ldaptest.Certificate(t)
	for name, tc := range map[string]struct {
		url    string
		roots  *x509.CertPool
		change func(*LDAP)
		want   string
	}{
		"an unknown certificate":           {"ldaps://" + s.Address, strangers, nil, "certificate"},
		"a name that is not its":           {strings.Replace("ldaps://"+s.Address, "127.0.0.1", "127.0.0.2", 1), roots, nil, "127.0.0.2"},
		"an unknown certificate, StartTLS": {"ldap://" + other.Address, strangers, func(l *LDAP) { l.StartTLS = true }, "StartTLS"},
		"a wrong password":                 {"ldaps://" + s.Address, roots, func(l *LDAP) { l.BindPassword = "open" }, "bind as"},
		"a base that is not there":         {"ldaps://" + s.Address, roots, func(l *LDAP) { l.BaseDN = "dc=nowhere" }, "base_dn"},
	} {
		l := askLDAP(tc.url)
		if tc.change != nil {
			tc.change(&l)
		}
		if err := CheckLDAP(t.Context(), l, tc.roots); err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), ldaptest.Password) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLDAPAway: while the directory is away people have what they come with, or
// what was known; nobody is refused, it is told once, and it heals by itself.
func TestLDAPAway(t *testing.T) {
	s := ldaptest.Serve(t, someDirectory(), nil, false)
	l := askLDAP("ldap://" + s.Address)
	l.Cache = 0 // nothing is fresh
	i, log := withLDAP(t, l, nil)
	vip := []string{"own", "vip", ldaptest.GroupDN("vip")}
	if got := groupsOf(t, i, "anna@example.com"); !slices.Equal(got, vip) {
		t.Fatalf("%q", got)
	}
	s.Stop()
	eventually(t, "the trouble is noticed", func() bool {
		if got := groupsOf(t, i, "anna@example.com"); !slices.Equal(got, vip) {
			t.Errorf("what was known is forgotten: %q", got)
		}
		return slices.ContainsFunc(i.Findings(), func(f Finding) bool { return f.Forwarder == sourceLDAP })
	})
	if got := groupsOf(t, i, "bob@example.com"); !slices.Equal(got, []string{"own"}) {
		t.Errorf("%q", got)
	}
	if err := s.Start(false); err != nil {
		t.Fatal(err)
	}
	i.groupsOf.memo.mu.Lock()
	i.groupsOf.memo.away = time.Time{} // the rest is over
	i.groupsOf.memo.mu.Unlock()
	if got := groupsOf(t, i, "bob@example.com"); !slices.Contains(got, "interns") {
		t.Errorf("%q", got)
	}
	if away, back := log.count("does not answer as it should"), log.count("answers again"); away != 1 || back != 1 {
		t.Errorf("told %d times that it is away, and %d that it is back", away, back)
	}
	if err := i.groupsOf.memo.trouble(); err != nil {
		t.Errorf("still in trouble: %v", err)
	}
}

// TestLDAPServersInTurn asks the second where the first is away.
func TestLDAPServersInTurn(t *testing.T) {
	away, there := ldaptest.Serve(t, someDirectory(), nil, false), ldaptest.Serve(t, someDirectory(), nil, false)
	away.Stop()
	i, log := withLDAP(t, askLDAP("ldap://"+away.Address+", ldap://"+there.Address), nil)
	if got := groupsOf(t, i, "anna@example.com"); !slices.Contains(got, "vip") || log.count("does not answer") > 0 {
		t.Errorf("%q", got)
	}
}

// TestLDAPConnectionsAreKept asks many with few, and does without one that the
// server closed.
func TestLDAPConnectionsAreKept(t *testing.T) {
	s := ldaptest.Serve(t, someDirectory(), nil, false)
	i, log := withLDAP(t, askLDAP("ldap://"+s.Address), nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if got := groupsOf(t, i, "anna@example.com"); !slices.Contains(got, "vip") {
				t.Errorf("%q", got)
			}
		})
	}
	all.Wait()
	if n := s.Searches.Load(); n != 1 {
		t.Errorf("%d searches for one person", n)
	}
	s.Hangup()
	if got := groupsOf(t, i, "bob@example.com"); !slices.Contains(got, "interns") || log.count("does not answer") > 0 {
		t.Errorf("%q", got)
	}
}

// eventually asks until it is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(what)
		}
	}
}

func counted(t *testing.T, i *Identifier, source, result string) float64 {
	t.Helper()
	var m dto.Metric
	if err := i.lookups.WithLabelValues(source, result).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
