package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"fairlane/cmd/internal/config"
	"fairlane/proxy"
	"fairlane/proxy/identity"
	"fairlane/proxy/limit/quota"
	"fairlane/proxy/policy"
	"fairlane/proxy/refusals"
	"fairlane/scheduler"
	"fairlane/scheduler/broker"
	"fairlane/scheduler/calls"
)

// edge is the role of the proxy.
type edge struct {
	server     *proxy.Server
	desk       *calls.Desk
	identifier *identity.Identifier
	decider    decider
	limits     *limits
	refusals   *refusals.Watch
}

// Identify implements proxy.Identifier. What is set for somebody new is looked up
// while the rest of their request is read.
func (e *edge) Identify(r *http.Request) (*identity.Identity, *scheduler.Problem) {
	id, p := e.identifier.Identify(r)
	if p == nil {
		e.decider.quotas.Meet(id)
	}
	return id, p
}

// decider decides by the policy and the quotas of now.
type decider struct {
	now    atomic.Pointer[policy.Policy]
	loads  *proxy.Loads
	pool   string // the first, whose load counts where none is named
	quotas *quota.Book
}

// Decide implements proxy.Decider.
func (d *decider) Decide(id *identity.Identity, q *policy.Query) (*policy.Decision, *scheduler.Problem) {
	decision, p := d.rules(id, q)
	d.quotas.Apply(id, decision)
	return decision, p
}

// rules decides by the policy and the load of now.
func (d *decider) rules(id *identity.Identity, q *policy.Query) (*policy.Decision, *scheduler.Problem) {
	rules := d.now.Load()
	if len(rules.Following()) == 0 {
		return rules.Decide(id, q)
	}
	asked := *q
	asked.Load = d.loads.Level(cmp.Or(q.Pool, d.pool))
	return rules.Decide(id, &asked)
}

// byRules decides as if there were no quotas.
func (d *decider) byRules(id *identity.Identity, q *policy.Query) *policy.Decision {
	decision, _ := d.rules(id, q)
	return decision
}

func (a *App) startEdge(ctx context.Context) error {
	if !a.has(RoleProxy) {
		return nil
	}
	e := &edge{}
	if err := a.startDecider(&e.decider); err != nil {
		return err
	}
	e.desk = a.newDesk(e.decider.loads.Hear)
	var err error
	if e.identifier, err = a.newIdentifier(); err != nil {
		return err
	}
	if err := a.startDesk(ctx, e); err != nil {
		return err
	}
	cacheKey, err := a.broker.Secret(ctx, "cache-salt")
	if err != nil {
		return err
	}
	e.identifier.Start(ctx)
	a.onStop(e.identifier.Stop)
	if e.limits, err = a.startLimits(ctx, &e.decider); err != nil {
		return err
	}
	if e.refusals, err = a.startRefusals(ctx); err != nil {
		return err
	}
	cfg := a.cfg.Edge
	if cfg.TLS, err = tlsOf(a.cfg.TLS); err != nil {
		return err
	}
	e.server, err = proxy.New(cfg, proxy.Deps{
		Identifier: e, Decider: &e.decider, Limiter: e.limits.limiter, Queue: e.desk, Passer: passer{a.fleet},
		Lister:   a.broker.Bus().Lister,
		Receipts: a.keeper(), Refusals: e.refusals, Catalog: a.catalog.current, Ready: a.ready, CacheKey: cacheKey, Metrics: a.reg, Logger: a.log,
	})
	if err != nil {
		return err
	}
	a.edge = e // before somebody asks whether it is ready
	if err := e.server.Start(ctx); err != nil {
		return fmt.Errorf("edge: %w", err)
	}
	return nil
}

// startDecider lets the policy decide. Quotas come later.
func (a *App) startDecider(d *decider) error {
	rules, err := policy.New(a.cfg.Policy)
	if err != nil {
		return err
	}
	d.now.Store(rules)
	pools := make([]string, len(a.cfg.Pools))
	for i, p := range a.cfg.Pools {
		pools[i] = p.Name
	}
	d.pool = pools[0]
	d.loads, err = proxy.NewLoads(proxy.LoadsConfig{
		Pools: pools, Rules: func() []policy.Following { return d.now.Load().Following() }, Metrics: a.reg, Logger: a.log,
	})
	return err
}

// newIdentifier is who says who is calling.
func (a *App) newIdentifier() (*identity.Identifier, error) {
	roots, err := config.Certificates(a.cfg.LDAPCAFile)
	if err != nil {
		return nil, fmt.Errorf("identity.ldap.ca_file: %w", err)
	}
	return identity.New(a.cfg.Identity, identity.Deps{Logger: a.log, LDAPRoots: roots, Metrics: a.reg})
}

func (a *App) newDesk(load func(pool string, level int)) *calls.Desk {
	streams := make(map[string]calls.Publisher, len(a.streams))
	for pool, s := range a.streams {
		streams[pool] = s
	}
	return calls.New(calls.Config{ID: broker.NewID(), NewID: broker.NewID, Streams: streams, Bus: a.broker.Bus(), Load: load, Logger: a.log})
}

func (a *App) startDesk(ctx context.Context, e *edge) error {
	unserve, err := a.broker.Bus().ServeProxy(e.desk.ID(), e.desk)
	if err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	e.desk.Start(ctx)
	a.onStop(func() { e.desk.Stop(); unserve() })
	return nil
}

// ready is nil while requests can be taken in, also with no backend: they wait.
func (a *App) ready() error {
	if err := a.broker.Up(); err != nil {
		return fmt.Errorf("the queue's store does not answer: %w", err)
	}
	if a.edge == nil {
		return errors.New("starting")
	}
	if pool := a.edge.desk.Unled(); pool != "" {
		return fmt.Errorf("no dispatcher has been seen for the pool %s yet", pool)
	}
	return nil
}

// tlsOf reads the certificate of the edge; nil: it speaks plain HTTP.
func tlsOf(files config.TLSFiles) (*tls.Config, error) {
	if files.CertFile == "" {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"}}
	if files.ClientCAFile == "" {
		return out, nil
	}
	if out.ClientCAs, err = config.Certificates(files.ClientCAFile); err != nil {
		return nil, fmt.Errorf("tls.client_ca_file: %w", err)
	}
	out.ClientAuth = tls.VerifyClientCertIfGiven
	return out, nil
}
