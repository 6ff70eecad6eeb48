package identity

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"fairlane/scheduler"
)

const (
	maxFailing = 1 << 15 // addresses that are remembered; past them one is forgotten for each new one
	inUse      = 1 << 12 // keys, each with an address, that are remembered to be in use
)

// failures bounds how many credentials may fail from one address. Whoever is past
// the bound is refused without being told whether the next guess was right; keys
// that were in use from there before, and tokens that verify, which nobody can
// guess, go on, for many people may share an address with one broken script.
type failures struct {
	rate Rate
	seed maphash.Seed
	used [inUse]atomic.Uint64 // hashes of a key's id and an address

	mu   sync.Mutex
	full map[netip.Prefix]time.Time // when all has been forgiven again
	some atomic.Int64               // len(full), to be read without the lock
}

func newFailures(rate Rate) *failures {
	return &failures{rate: rate, seed: maphash.MakeSeed(), full: map[netip.Prefix]time.Time{}}
}

// each is the time in which one failure is forgiven.
func (f *failures) each() time.Duration { return f.rate.Per / time.Duration(f.rate.N) }

// wait is how long no failure of an address is forgiven; 0: it may fail.
func (f *failures) wait(addr netip.Addr) time.Duration {
	if f.rate.N == 0 || f.some.Load() == 0 {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.waitLocked(neighbours(addr), time.Now())
}

func (f *failures) waitLocked(p netip.Prefix, now time.Time) time.Duration {
	full, known := f.full[p]
	if !known || full.Before(now) {
		return 0
	}
	return max(0, full.Sub(now)+f.each()-f.rate.Per)
}

// failed takes a failure down, or says how long it has to wait.
func (f *failures) failed(addr netip.Addr) time.Duration {
	if f.rate.N == 0 {
		return 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p, now := neighbours(addr), time.Now()
	if wait := f.waitLocked(p, now); wait > 0 {
		return wait
	}
	full, known := f.full[p]
	if !known && len(f.full) >= maxFailing {
		f.forgetLocked(now)
	}
	if full.Before(now) {
		full = now
	}
	f.full[p] = full.Add(f.each())
	f.some.Store(int64(len(f.full)))
	return 0
}

// forgetLocked makes room: of a few, those go that are forgiven, or else one.
func (f *failures) forgetLocked(now time.Time) {
	const few = 8
	var looked int
	var last netip.Prefix
	for p, full := range f.full {
		if full.Before(now) {
			delete(f.full, p)
		}
		last = p
		if looked++; looked == few {
			break
		}
	}
	if len(f.full) >= maxFailing {
		delete(f.full, last)
	}
}

// neighbours are the addresses that count as one.
func neighbours(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if addr.Is6() {
		bits = household
	}
	p, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // of unknown address
	}
	return p
}

// slot is where it stands that a key is in use from an address, and as what.
func (f *failures) slot(key string, addr netip.Addr) (*atomic.Uint64, uint64) {
	h := maphash.Comparable(f.seed, struct {
		key  string
		from netip.Prefix
	}{key, neighbours(addr)})
	return &f.used[h%inUse], h
}

// judge is the end of a proof: what is wrong with it counts, and a key that is
// right counts only if it was no guess.
func (f *failures) judge(id *Identity, addr netip.Addr, p *scheduler.Problem) *scheduler.Problem {
	if p != nil {
		if p.Code != scheduler.CodeInvalidAPIKey || p.Reason == ReasonMissing {
			return p
		}
		if wait := f.failed(addr); wait > 0 {
			return tooMany(wait)
		}
		return p
	}
	if f.rate.N == 0 || id.KeyID == "" || id.Issuer != "" {
		return nil
	}
	slot, mark := f.slot(id.KeyID, addr)
	if slot.Load() == mark {
		return nil
	}
	if wait := f.wait(addr); wait > 0 {
		return tooMany(wait)
	}
	slot.Store(mark)
	return nil
}
