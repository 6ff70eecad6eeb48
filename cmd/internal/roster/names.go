package roster

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"fairlane/cmd/internal/config"
)

const (
	dnsPrefix = "dns+"
	// missedAnswers in a row take an address away.
	missedAnswers = 3
	lookupTimeout = 2 * time.Second
)

// Lookup finds the addresses of a name, like net.Resolver.LookupHost.
type Lookup func(ctx context.Context, host string) ([]string, error)

// name is what is known of one: for each address how many answers in a row were
// without it.
type name struct {
	missed map[string]int
	failed bool
}

// answer takes what a lookup found.
func (n *name) answer(addresses []string) {
	for a := range n.missed {
		if n.missed[a]++; n.missed[a] >= missedAnswers {
			delete(n.missed, a)
		}
	}
	for _, a := range addresses {
		n.missed[a] = 0
	}
}

func (n *name) addresses() []string {
	out := make([]string, 0, len(n.missed))
	for a := range n.missed {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

// resolve looks up one name, and says when it begins or ceases to fail.
func (r *Roster) resolve(ctx context.Context, host string) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addresses, err := r.cfg.Lookup(ctx, host)
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		addresses, err = nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[host]
	if n == nil {
		n = &name{missed: map[string]int{}}
		r.names[host] = n
	}
	switch {
	case err != nil && !n.failed:
		r.cfg.Logger.WarnContext(ctx, "a name of backends can't be looked up: its addresses stay as they are", slog.String("name", host), slog.Any("error", err))
	case err == nil && n.failed:
		r.cfg.Logger.InfoContext(ctx, "a name of backends can be looked up again", slog.String("name", host))
	}
	n.failed = err != nil
	if err == nil {
		n.answer(addresses)
	}
}

// hostOf is the name that a backend's URL is to be looked up by; empty: none.
func hostOf(b config.Backend) string {
	rest, found := strings.CutPrefix(b.URL, dnsPrefix)
	if !found {
		return ""
	}
	u, err := url.Parse(rest)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// at is the backend at one address of its name.
func at(b config.Backend, address string) Backend {
	u, err := url.Parse(strings.TrimPrefix(b.URL, dnsPrefix))
	if err != nil {
		return Backend{Backend: b}
	}
	out := Backend{Backend: b, Name: u.Hostname()}
	switch port := u.Port(); {
	case port != "":
		u.Host = net.JoinHostPort(address, port)
	case strings.Contains(address, ":"):
		u.Host = "[" + address + "]"
	default:
		u.Host = address
	}
	out.URL = u.String()
	return out
}
