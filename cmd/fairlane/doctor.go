package main

import (
	"context"
	"fmt"
	"io"
	"net"

	"fairlane/cmd/internal/app"
	"fairlane/cmd/internal/cli"
	"fairlane/cmd/internal/config"
	"fairlane/cmd/internal/doctor"
	"fairlane/cmd/internal/roster"
	"fairlane/proxy/identity"
)

type doctorCmd struct {
	Config string `short:"c" type:"path" placeholder:"FILE" help:"Configuration of the installation: where its ports and backends are."`
	Edge   string `placeholder:"URL" help:"Where the edge is; by default where the configuration says."`
	Admin  string `placeholder:"URL" help:"Where the admin port is; by default where the configuration says."`
	Token  string `help:"Token for the admin port; by default the first of the configuration."`
}

// Run looks at a running installation. It fails if something is bad.
func (c *doctorCmd) Run(w *cli.World) error {
	cfg, err := config.Load(c.Config, w.Getenv)
	if err != nil {
		return err
	}
	look := doctor.Config{Edge: c.Edge, Admin: c.Admin, AdminToken: c.Token}
	if look.Edge == "" {
		scheme := "http"
		if cfg.TLS.CertFile != "" {
			scheme = "https"
		}
		look.Edge = scheme + "://" + local(cfg.Listen)
	}
	if look.Admin == "" {
		look.Admin = "http://" + local(cfg.Admin.Listen)
	}
	if look.AdminToken == "" && len(cfg.Admin.Tokens) > 0 {
		look.AdminToken = cfg.Admin.Tokens[0].Token
	}
	backends := roster.New(roster.Config{}) // every address of a name
	backends.Configure(w.Ctx, cfg.Pools)
	for _, p := range cfg.Pools {
		for _, b := range backends.Backends(p.Name) {
			look.Backends = append(look.Backends, doctor.Backend{URL: b.URL, APIKey: b.APIKey})
		}
	}
	if cfg.Redis.URL != "" {
		look.Redis = func(ctx context.Context) error { return pingRedis(ctx, cfg.Redis) }
	}
	if err := consulted(&look, cfg); err != nil {
		return err
	}
	return tell(w.Ctx, w.Stdout, doctor.New(look))
}

func pingRedis(ctx context.Context, cfg config.RedisConfig) error {
	db, err := app.DialRedis(cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Ping(ctx).Err()
}

// consulted is who says more about people than their requests do.
func consulted(look *doctor.Config, cfg *config.Config) error {
	roots, err := config.Certificates(cfg.LDAPCAFile)
	if err != nil {
		return fmt.Errorf("identity.ldap.ca_file: %w", err)
	}
	if cfg.Identity.LDAP.URL != "" {
		look.LDAP = func(ctx context.Context) error { return identity.CheckLDAP(ctx, cfg.Identity.LDAP, roots) }
	}
	if url := cfg.Identity.OpenWebUISessions; url != "" {
		look.Sessions = func(ctx context.Context) error { return identity.CheckSessions(ctx, url) }
	}
	return nil
}

// tell prints what the doctor finds.
func tell(ctx context.Context, out io.Writer, d *doctor.Doctor) error {
	bad := 0
	for _, f := range d.Look(ctx) {
		mark := map[doctor.Level]string{doctor.OK: "ok  ", doctor.Hint: "hint", doctor.Bad: "BAD "}[f.Level]
		fmt.Fprintf(out, "%s  %s: %s\n", mark, f.What, f.Seen)
		if f.Remedy != "" {
			fmt.Fprintf(out, "      → %s\n", f.Remedy)
		}
		if f.Level == doctor.Bad {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of what was looked at is bad", bad)
	}
	return nil
}

// local is where somebody on the same machine reaches an address to listen on.
func local(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
