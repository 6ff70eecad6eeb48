package app

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlane/cmd/internal/keyfile"
	"fairlane/proxy/identity"
	"fairlane/proxy/identity/ldaptest"
)

// twoGroups is a directory with people in two groups.
func twoGroups() ldaptest.Content {
	return ldaptest.Content{
		People: map[string]string{"anna": "anna@example.com", "bob": "bob@example.com", "carl": "carl@example.com"},
		Groups: map[string][]string{"research": {"anna"}, "interns": {"bob"}},
	}
}

// TestTwoGroupsOfADirectoryHaveTwoQuotas, through the whole edge: in a directory of
// this process, and in a real slapd where there is one.
func TestTwoGroupsOfADirectoryHaveTwoQuotas(t *testing.T) {
	cert, key, _ := ldaptest.Certificate(t)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("own", func(t *testing.T) {
		twoQuotas(t, "ldaps://"+ldaptest.Serve(t, twoGroups(), ldaptest.TLS(t, cert, key), true).Address, ca)
	})
	t.Run("slapd", func(t *testing.T) {
		twoQuotas(t, "ldaps://"+ldaptest.StartSlapd(t, twoGroups(), cert, key).Secure, ca)
	})
}

func twoQuotas(t *testing.T, url, ca string) {
	t.Helper()
	keys := keyfile.File{Path: filepath.Join(t.TempDir(), "keys.yaml")}
	openWebUI, err := keys.Create(identity.Key{ID: "openwebui", Forwarder: true})
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(t, whole)
	in := install(t, m.pool(4)+fmt.Sprintf(`
policy:
  - {when: {group: research}, limits: "5/hour"}
  - {when: {group: %q}, limits: "2/hour"}
  - {limits: "3/hour"}
identity:
  api_keys: {file: %q}
  ldap: {url: %q, ca_file: %q, bind_dn: %q, bind_password: %q, base_dn: %q}
`, ldaptest.GroupDN("interns"), keys.Path, url, ca, ldaptest.Binder, ldaptest.Password, ldaptest.Base))
	in.ready()
	for mail, want := range map[string]int{"anna@example.com": 5, "bob@example.com": 2, "carl@example.com": 3} {
		var served int
		for range 7 {
			a := in.post("/v1/chat/completions", chatOf("x"), "Authorization", "Bearer "+openWebUI, "X-OpenWebUI-User-Email", mail)
			switch a.status {
			case http.StatusOK:
				served++
			case http.StatusTooManyRequests:
			default:
				t.Errorf("%s: %d %s", mail, a.status, a.body)
			}
		}
		if served != want {
			t.Errorf("%s was served %d times, want %d", mail, served, want)
		}
	}
	if log := in.log.String(); strings.Contains(log, ldaptest.Password) || strings.Contains(log, openWebUI) {
		t.Error("the log holds a secret")
	}
}

// TestAClientCertificateIsAForwarder's key: who has one of the CA's is believed
// about who sits behind it, who has none is not, and one of somebody else's gets no
// connection.
func TestAClientCertificateIsAForwarder(t *testing.T) {
	dir := t.TempDir()
	cert, key, roots := ldaptest.Certificate(t)
	for name, data := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := newModel(t, whole)
	in := prepare(t, m.pool(4)+fmt.Sprintf(`
tls: {cert_file: "%[1]s/cert.pem", key_file: "%[1]s/key.pem", client_ca_file: "%[1]s/cert.pem"}
identity: {api_keys: {file: "%[1]s/keys.yaml"}, anonymous: deny}
`, writtenKeys(t, dir)))
	if err := in.app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.app.Stop)
	in.ready()
	call := func(pairs ...tls.Certificate) (int, error) {
		c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: pairs}}}
		url := strings.Replace(in.app.EdgeURL(), "http://", "https://", 1)
		resp, err := c.Do(request(t.Context(), t, url+"/v1/chat/completions", chatOf("x"), "X-OpenWebUI-User-Email", "anna@example.com"))
		if err != nil {
			return 0, err
		}
		return read(t, resp).status, nil
	}
	pair := func(cert, key []byte) tls.Certificate {
		p, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if status, err := call(pair(cert, key)); status != http.StatusOK {
		t.Errorf("with a certificate: %d, %v", status, err)
	}
	if status, err := call(); status != http.StatusUnauthorized {
		t.Errorf("without one: %d, %v", status, err)
	}
	stranger, strangersKey, _ := ldaptest.Certificate(t)
	if status, err := call(pair(stranger, strangersKey)); status != 0 && status != http.StatusUnauthorized {
		t.Errorf("with a stranger's: %d, %v", status, err)
	}
	in.until("the request of the person is in the log", func() bool {
		return strings.Contains(in.log.String(), `"user_key":"user:anna@example.com"`)
	})
}

// writtenKeys makes a key file in a directory, and returns the directory.
func writtenKeys(t *testing.T, dir string) string {
	t.Helper()
	if _, err := (keyfile.File{Path: filepath.Join(dir, "keys.yaml")}).Create(identity.Key{ID: "k"}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestWhyACredentialWasRefusedStandsInTheLog, and the credential does not; the
// caller is told neither, and, after too many, when to come back.
func TestWhyACredentialWasRefusedStandsInTheLog(t *testing.T) {
	m := newModel(t, whole)
	in := install(t, m.pool(4)+"identity:\n  failed_credentials: 2/hour\n"+keyFile(t, "k-ci"))
	in.ready()
	const guess = "k-guess-of-a-key"
	for n, want := range []int{http.StatusUnauthorized, http.StatusUnauthorized, http.StatusTooManyRequests} {
		a := in.post("/v1/chat/completions", chatOf("x"), "Authorization", "Bearer "+guess)
		if a.status != want || strings.Contains(a.body, "unknown_key") || strings.Contains(a.body, guess) {
			t.Errorf("%d: %d %s", n, a.status, a.body)
		}
		if want == http.StatusTooManyRequests && (a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "your address")) {
			t.Errorf("%v %s", a.header, a.body)
		}
	}
	in.until("all are in the log", func() bool { return len(in.lines("request")) >= 3 })
	why := map[any]int{}
	for _, line := range in.lines("request") {
		why[line["reason"]]++
	}
	if why["unknown_key"] != 2 || why["credentials"] != 1 || strings.Contains(in.log.String(), guess) {
		t.Errorf("%v\n%s", why, in.log)
	}
}
