package identity

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

const (
	unknownAddress = "unknown"
	household      = 64 // bits of an IPv6 address that one household or host is given
)

// client is the address of who is calling. X-Forwarded-For is read from the right,
// as far as trusted proxies have written it: the first that is none of them is
// the client.
func (i *Identifier) client(r *http.Request) netip.Addr {
	addr := parseAddr(r.RemoteAddr)
	if !i.trusts(addr) {
		return addr
	}
	for hop := range hops(r.Header["X-Forwarded-For"]) {
		next := parseAddr(hop)
		if !next.IsValid() {
			return addr // what stands further left was written by nobody we trust
		}
		if addr = next; !i.trusts(addr) {
			return addr
		}
	}
	return addr
}

// hops are the entries of all lines of the header, from right to left.
func hops(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			for rest := true; rest; {
				comma := strings.LastIndexByte(line, ',')
				if !yield(strings.TrimSpace(line[comma+1:])) {
					return
				}
				if rest = comma >= 0; rest {
					line = line[:comma]
				}
			}
		}
	}
}

func (i *Identifier) trusts(addr netip.Addr) bool {
	for _, prefix := range i.cfg.TrustedProxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// parseAddr reads an address with or without a port.
func parseAddr(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// addressKey is the user key of who is known by address only.
func addressKey(addr netip.Addr) string {
	switch {
	case !addr.IsValid():
		return "ip:" + unknownAddress
	case addr.Is6():
		prefix, err := addr.Prefix(household)
		if err != nil {
			return "ip:" + addr.String()
		}
		return "ip:" + prefix.String()
	default:
		return "ip:" + addr.String()
	}
}
