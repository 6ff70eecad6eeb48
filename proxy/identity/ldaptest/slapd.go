package ldaptest

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Certificate is one for 127.0.0.1 and localhost, in PEM, and who believes it.
func Certificate(t testing.TB) (cert, key []byte, roots *x509.CertPool) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "directory"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, signer.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	return cert, key, roots
}

// TLS is what a server needs to have a certificate.
func TLS(t testing.TB, cert, key []byte) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
}

// Slapd is a real one: where it answers without TLS, or with StartTLS, and with.
type Slapd struct{ Plain, Secure string }

// StartSlapd runs one with a content; a test is skipped where there is none.
func StartSlapd(t testing.TB, c Content, cert, key []byte) Slapd {
	t.Helper()
	binary, err := exec.LookPath("slapd")
	if err != nil {
		if binary = "/usr/sbin/slapd"; !there(binary) {
			t.Skip("there is no slapd here")
		}
	}
	dir, s := t.TempDir(), Slapd{Plain: free(t), Secure: free(t)}
	conf := fmt.Sprintf(`include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/nis.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
database mdb
directory %[1]s
suffix %[2]q
rootdn %[3]q
rootpw %[4]q
overlay memberof
`, dir, Base, Binder, Password)
	for name, data := range map[string][]byte{"slapd.conf": []byte(conf), "cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), binary, "-d", "0", "-f", filepath.Join(dir, "slapd.conf"), "-h", "ldap://"+s.Plain+" ldaps://"+s.Secure) //nolint:gosec // a test's own
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	fill(t, s.Plain, c)
	return s
}

func there(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// free is an address that nobody listens on.
func free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it is there at once
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// fill writes the content as clients do, for so the overlay finds out who is in
// what.
func fill(t testing.TB, address string, c Content) {
	t.Helper()
	conn := dial(t, address)
	defer conn.Close()
	if err := conn.Bind(Binder, Password); err != nil {
		t.Fatal(err)
	}
	add := func(dn string, attributes map[string][]string) {
		r := ldap.NewAddRequest(dn, nil)
		for name, values := range attributes {
			r.Attribute(name, values)
		}
		if err := conn.Add(r); err != nil {
			t.Fatalf("%s: %v", dn, err)
		}
	}
	add(Base, map[string][]string{"objectClass": {"dcObject", "organization"}, "dc": {"example"}, "o": {"example"}})
	add(people, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {"people"}})
	add(groups, map[string][]string{"objectClass": {"organizationalUnit"}, "ou": {"groups"}})
	for uid, mail := range c.People {
		add(personDN(uid), map[string][]string{"objectClass": {"inetOrgPerson"}, "uid": {uid}, "cn": {uid}, "sn": {uid}, "mail": {mail}})
	}
	for _, cn := range sorted(c) {
		var dns []string
		for _, m := range c.Groups[cn] {
			dns = append(dns, member(m))
		}
		add(GroupDN(cn), map[string][]string{"objectClass": {"groupOfNames"}, "cn": {cn}, "member": dns})
	}
	for cn, uids := range c.Posix {
		add(GroupDN(cn), map[string][]string{"objectClass": {"posixGroup"}, "cn": {cn}, "gidNumber": {"1000"}, "memberUid": uids})
	}
}

// sorted are the groups, those in other groups first: the overlay looks at them.
func sorted(c Content) []string {
	return slices.SortedFunc(maps.Keys(c.Groups), func(a, b string) int { return cmp.Compare(c.height(a), c.height(b)) })
}

// dial waits until slapd answers.
func dial(t testing.TB, address string) *ldap.Conn {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := ldap.DialURL("ldap://" + address)
		if err == nil {
			return conn
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal(err)
		}
	}
}
