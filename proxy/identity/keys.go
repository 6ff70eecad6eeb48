package identity

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// entry is a key that is known.
type entry struct {
	Key
	digest [sha256.Size]byte
	flow   *flow // what arrives with it
}

func (e *entry) expired(now time.Time) bool { return !e.Expires.IsZero() && !now.Before(e.Expires) }

// keyRing holds the keys by digest. It is replaced as a whole.
type keyRing struct {
	byDigest map[[sha256.Size]byte]*entry
	flows    []*flow // in the order of the file
	file     bool    // keys are asked for, even if there are none
}

// newKeyRing keeps the counts of the keys that were in old, which may be nil.
func newKeyRing(keys []Key, file bool, old *keyRing) (*keyRing, error) {
	f := &faults{}
	id := regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@:-]{0,63}$`)
	ring := &keyRing{byDigest: make(map[[sha256.Size]byte]*entry, len(keys)), file: file}
	seen := make(map[string]bool, len(keys))
	for i, key := range keys {
		path := fmt.Sprintf("identity.api_keys[%d]", i)
		if !id.MatchString(key.ID) {
			f.add(path+".id", "%q has to be 1 to 64 letters, digits and . _ @ : -", key.ID)
		} else if seen[key.ID] {
			f.add(path+".id", "%q is there twice", key.ID)
		}
		seen[key.ID] = true
		if key.Forwarder && (key.User != "" || key.Email != "") {
			f.add(path+".forwarder", "a forwarder is no person: take user and email out, or forwarder")
		}
		if key.Email != "" && email(key.Email) == "" {
			f.add(path+".email", "%q is no email address", key.Email)
		}
		digest, err := digestOf(key.SHA256)
		if err != nil {
			f.add(path+".sha256", "%v", err)
			continue
		}
		if ring.byDigest[digest] != nil {
			f.add(path+".sha256", "the key %q has the same", ring.byDigest[digest].ID)
		}
		e := &entry{Key: key.normal(), digest: digest, flow: old.flow(key.ID)}
		ring.byDigest[digest] = e
		ring.flows = append(ring.flows, e.flow)
	}
	return ring, errors.Join(f.errs...)
}

func (r *keyRing) flow(id string) *flow {
	if r != nil {
		for _, f := range r.flows {
			if f.name == id {
				return f
			}
		}
	}
	return &flow{name: id}
}

// normal is the key with its texts as identities have them.
func (k Key) normal() Key {
	k.User, k.Name = clean(k.User, maxID), clean(k.Name, maxName)
	if k.Email = email(k.Email); k.Email == "" {
		k.Email = email(k.User)
	}
	return k
}

// find looks a key up by its digest; see the package's comment on the time it
// takes.
func (r *keyRing) find(key string) *entry {
	digest := sha256.Sum256([]byte(key))
	e := r.byDigest[digest]
	if e == nil || subtle.ConstantTimeCompare(e.digest[:], digest[:]) != 1 {
		return nil
	}
	return e
}

// key is the valid key that was shown, or why there is none.
func (r *keyRing) key(shown credential) (*entry, Reason) {
	if shown.token == "" {
		return nil, or(shown.reason, ReasonMissing)
	}
	e := r.find(shown.token)
	switch {
	case e == nil:
		return nil, ReasonUnknownKey
	case e.expired(time.Now()):
		return nil, ReasonExpiredKey
	default:
		return e, ""
	}
}

// SwapKeys replaces the keys. File tells that a key file is configured; without
// one no keys are asked for any more. What is wrong with the new ones is an error,
// and the old ones stay. Whether nothing is verified was settled when the process
// began: what would leave open mode, or enter it, is refused, see Config.Rekey.
func (i *Identifier) SwapKeys(keys []Key, file bool) error {
	file = file || len(keys) > 0
	switch {
	case i.open:
		return errors.New("identity.api_keys.file: nothing is verified in open mode: restart to leave it")
	case !file && len(i.issuers) == 0:
		return errors.New("identity.api_keys.file: without it nothing is verified: restart to enter open mode")
	}
	ring, err := newKeyRing(keys, file, i.keys.Load())
	if err != nil {
		return err
	}
	i.keys.Store(ring)
	return nil
}

// credential is what a request shows in Authorization or x-api-key.
type credential struct {
	token  string
	reason Reason // why it is none, if it is none
}

const (
	authorization = "Authorization"
	keyHeader     = "X-Api-Key"
	maxCredential = 16 << 10
)

// credentialOf reads a bearer, in any case, or else x-api-key, as Anthropic's
// clients send it. False: there is neither.
func credentialOf(header map[string][]string) (credential, bool) {
	values := header[authorization]
	if len(values) == 0 {
		if values = header[keyHeader]; len(values) == 0 {
			return credential{}, false
		}
		return single(values, values[0]), true
	}
	scheme, token, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return credential{reason: ReasonScheme}, true
	}
	return single(values, token), true
}

func single(values []string, token string) credential {
	token = strings.TrimSpace(token)
	if len(values) != 1 || token == "" || len(token) > maxCredential {
		return credential{reason: ReasonMalformed}
	}
	return credential{token: token}
}
