package app

import (
	"fmt"
	"net"
	"strings"
)

// banner says, once, where everything is and what an administrator should know.
func (a *App) banner() {
	var out strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	roles := make([]string, len(a.opts.Roles))
	for i, r := range a.opts.Roles {
		roles[i] = string(r)
	}
	say("fairlane %s: %s", ReadBuild().Version, strings.Join(roles, ", "))
	if a.edge != nil {
		say("  edge     %s/v1", a.EdgeURL())
	}
	say("  admin    %s", a.AdminURL())
	say("  metrics  %s", a.MetricsURL())
	for _, p := range a.current().Pools {
		for _, b := range p.Backends {
			say("  backend  %s (pool %s)", b.URL, p.Name)
		}
	}
	if a.sim != nil {
		say("No backend is configured, so an EMULATED vLLM answers with made-up words. For a real one: VLLM_URL=http://gpu-box:8000, or --vllm.")
	}
	if a.edge != nil && a.edge.identifier.OpenMode() {
		say("Open mode: nothing is verified, whoever calls is who they say they are. To close it set identity.api_keys.file (and mark Open WebUI's key `forwarder: true`), or identity.jwt.")
	}
	for _, w := range a.current().Warnings {
		say("Note: %s", w)
	}
	if _, err := fmt.Fprint(a.opts.Stdout, out.String()); err != nil {
		a.log.Debug("nobody reads the banner")
	}
}

// EdgeURL is where the edge is while it runs, without /v1.
func (a *App) EdgeURL() string {
	scheme := "http"
	if a.current().TLS.CertFile != "" {
		scheme = "https"
	}
	return scheme + "://" + reachable(a.edge.server.Addr())
}

// AdminURL is where the admin port is while the process runs.
func (a *App) AdminURL() string { return "http://" + reachable(a.admin.Addrs()[0]) }

// MetricsURL is where metrics are while the process runs: on a port of their own
// if there is one, else on the admin port.
func (a *App) MetricsURL() string {
	addrs := a.admin.Addrs()
	return "http://" + reachable(addrs[len(addrs)-1]) + "/metrics"
}

// reachable is an address as one would type it: a listener on all interfaces is
// reached at localhost.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
