package app

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"fairlane/cmd/internal/config"
	"fairlane/proxy"
	"fairlane/proxy/limit"
	"fairlane/proxy/limit/quota"
)

// audited is the journal of what administrators change.
const audited = "audit"

// limits are the buckets of callers, and the quotas that override rules.
type limits struct {
	limiter *proxy.Buckets
	quotas  quota.Service
}

// startLimits keeps buckets and quotas where the configuration says.
func (a *App) startLimits(ctx context.Context, d *decider) (*limits, error) {
	store, cfg, err := a.startStores(ctx)
	if err != nil {
		return nil, err
	}
	l := &limits{}
	l.limiter, err = proxy.NewLimiter(proxy.LimiterConfig{Store: store, Replicas: a.cfg.Redis.FallbackReplicas, Metrics: a.reg, Logger: a.log})
	if err != nil {
		return nil, err
	}
	cfg.Metrics, cfg.Logger = a.reg, a.log
	if d.quotas, err = quota.NewBook(cfg); err != nil {
		return nil, err
	}
	d.quotas.Start()
	a.onStop(d.quotas.Stop)
	journal, err := a.broker.Journal(ctx, audited, a.cfg.History.Audit)
	if err != nil {
		return nil, err
	}
	l.quotas = quota.Service{Book: d.quotas, Journal: journal, Decide: d.byRules, Look: l.limiter.Look, Logger: a.log}
	return l, nil
}

// startStores opens Redis, or what stands in for it: memory and the queue's store.
func (a *App) startStores(ctx context.Context) (limit.Store, quota.Config, error) {
	if a.cfg.Redis.URL != "" {
		return a.startRedis()
	}
	bucket, err := a.broker.Bucket(ctx, "FL_QUOTAS")
	if err != nil {
		return nil, quota.Config{}, err
	}
	a.onStop(bucket.Close)
	store := limit.NewMemory(limit.MemoryConfig{})
	store.Start()
	a.onStop(store.Stop)
	return store, quota.Config{Source: quota.KV{Bucket: bucket}}, nil
}

func (a *App) startRedis() (limit.Store, quota.Config, error) {
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlane_redis_up", Help: "1 while Redis answers, else 0."})
	if err := a.reg.Register(up); err != nil {
		return nil, quota.Config{}, fmt.Errorf("metrics: %w", err)
	}
	up.Set(1)
	db, err := DialRedis(a.cfg.Redis)
	if err != nil {
		return nil, quota.Config{}, err
	}
	a.onStop(func() { _ = db.Close() }) // nothing is left to be done about it
	store := limit.NewRedis(limit.RedisConfig{Changed: func(err error) {
		up.Set(1)
		if err != nil {
			up.Set(0)
		}
	}}, db)
	store.Start()
	a.onStop(store.Stop)
	return store, quota.Config{Source: quota.Redis{DB: db}, Away: store.Away}, nil
}

// DialRedis connects to the configured Redis.
func DialRedis(cfg config.RedisConfig) (redis.UniversalClient, error) {
	roots, err := config.Certificates(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("redis.ca_file: %w", err)
	}
	return limit.Address{URL: cfg.URL, CAs: roots}.Dial()
}
