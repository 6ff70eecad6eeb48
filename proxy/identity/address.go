package identity

import (
	"net/http"
	"net/netip"
	"strings"
)

const unknownAddress = "unknown"

// client is the address of who is calling. X-Forwarded-For is read from the right,
// as far as trusted proxies have written it: the first that is none of them is
// the client.
func (i *Identifier) client(r *http.Request) netip.Addr {
	addr := parseAddr(r.RemoteAddr)
	if !i.trusts(addr) {
		return addr
	}
	hops := r.Header["X-Forwarded-For"]
	for h := len(hops) - 1; h >= 0; h-- {
		for list := hops[h]; list != ""; {
			var hop string
			if comma := strings.LastIndexByte(list, ','); comma >= 0 {
				list, hop = list[:comma], list[comma+1:]
			} else {
				list, hop = "", list
			}
			next := parseAddr(strings.TrimSpace(hop))
			if !next.IsValid() {
				return addr // what stands further left was written by nobody we trust
			}
			if addr = next; !i.trusts(addr) {
				return addr
			}
		}
	}
	return addr
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
		const household = 64
		prefix, err := addr.Prefix(household)
		if err != nil {
			return "ip:" + addr.String()
		}
		return "ip:" + prefix.String()
	default:
		return "ip:" + addr.String()
	}
}
