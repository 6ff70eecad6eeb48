package identity

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/scheduler"
)

func from(address string, h headers) *http.Request {
	r := request(h)
	r.RemoteAddr = address
	return r
}

func bearerOf(token string) headers { return headers{"Authorization": "Bearer " + token} }

// TestFailedCredentialsAreLimitedByAddress: past the bound a guess is not even told
// to be right.
func TestFailedCredentialsAreLimitedByAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{sso()}, FailedCredentials: Rate{3, time.Minute}})
		tells := func(address, token string, want scheduler.Code) *scheduler.Problem {
			t.Helper()
			_, p := i.Identify(from(address, bearerOf(token)))
			got := scheduler.Code("")
			if p != nil {
				got = p.Code
			}
			if got != want {
				t.Errorf("%s with %s: %v, want %q", address, token, p, want)
			}
			return p
		}
		const here, there = "192.0.2.7:1", "192.0.2.8:1"
		tells(here, "k-ci", "") // in use from here
		for range 3 {
			tells(here, "guess", scheduler.CodeInvalidAPIKey)
		}
		p := tells(here, "guess", scheduler.CodeRateLimit)
		if p.Reason != ReasonTooManyFailed || p.RetryAfter != 20*time.Second || !strings.Contains(p.Message, "20 s") {
			t.Errorf("%+v", p)
		}
		tells(here, "k-plain", scheduler.CodeRateLimit) // a guess that is right
		tells(here, "k-ci", "")
		tells(here, mint(t, secret+"2", Token{Issuer: "https://sso", Audience: "fairlane", Subject: "x", Email: "x@y.z"})+"x", scheduler.CodeRateLimit)
		tells(there, "k-plain", "")
		tells(there, "guess", scheduler.CodeInvalidAPIKey)
		if id, p := i.Identify(from(here, nil)); p != nil || !id.Anonymous {
			t.Errorf("who shows nothing is refused: %v", p)
		}
		<-time.After(20 * time.Second)
		tells(here, "guess", scheduler.CodeInvalidAPIKey) // one is forgiven
		tells(here, "guess", scheduler.CodeRateLimit)
		<-time.After(time.Minute)
		tells(here, "k-plain", "")
	})
}

// TestTokensThatVerifyGoOn from an address that others guess from: nobody can guess
// a signature.
func TestTokensThatVerifyGoOn(t *testing.T) {
	i := mustNew(t, Config{JWT: []Issuer{openWebUI(), {Name: "idp", Secret: secret + "3"}}, FailedCredentials: Rate{1, time.Hour}})
	for range 3 {
		i.Identify(request(bearerOf("guess")))
	}
	if _, p := i.Identify(request(headers{"X-OpenWebUI-User-Jwt": signed(t)})); p != nil {
		t.Error(p)
	}
	if _, p := i.Identify(request(bearerOf(mint(t, secret+"3", Token{Subject: "x"})))); p != nil {
		t.Error(p)
	}
}

// TestOneHouseholdIsOneAddress: an IPv6 guesser has 2^64 addresses.
func TestOneHouseholdIsOneAddress(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys(), FailedCredentials: Rate{1, time.Hour}})
	i.Identify(from("[2001:db8::1]:1", bearerOf("guess")))
	if _, p := i.Identify(from("[2001:db8::2:2]:1", bearerOf("guess"))); p == nil || p.Code != scheduler.CodeRateLimit {
		t.Errorf("%v", p)
	}
	if _, p := i.Identify(from("[2001:db8:0:1::2]:1", bearerOf("guess"))); p == nil || p.Code != scheduler.CodeInvalidAPIKey {
		t.Errorf("%v", p)
	}
}

// TestAMillionAddresses that fail, and a million people, take no more room than so
// many that are remembered.
func TestAMillionAddresses(t *testing.T) {
	f := newFailures(Rate{30, time.Minute})
	before := heap()
	for n := range uint32(million) {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], n)
		f.failed(netip.AddrFrom4(b))
	}
	if len(f.full) > maxFailing {
		t.Errorf("%d are remembered", len(f.full))
	}
	const most = 16 << 20
	grown := heap() - before
	t.Logf("a million addresses take %d KB", grown>>10)
	if grown > most {
		t.Errorf("a million addresses take %d bytes", grown)
	}
	runtime.KeepAlive(f)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestAMillionPeople are identified, and nothing of them stays.
func TestAMillionPeople(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys(), FailedCredentials: Rate{30, time.Minute}})
	r := request(headers{"Authorization": "Bearer k-owui"})
	before := heap()
	var b [8]byte
	for n := range uint64(million) {
		binary.BigEndian.PutUint64(b[:], n)
		r.Header["X-Openwebui-User-Id"] = []string{netip.AddrFrom16([16]byte(append(b[:], b[:]...))).String()}
		if id, p := i.Identify(r); p != nil || id.Nobody {
			t.Fatal(p)
		}
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("a million people take %d bytes", grown)
	}
	runtime.KeepAlive(i)
}
