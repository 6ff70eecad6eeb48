package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"fairlane/cmd/internal/config"
	"fairlane/proxy"
	"fairlane/proxy/limit"
)

// startLimiter keeps the buckets where the configuration says.
func (a *App) startLimiter() (*proxy.Buckets, error) {
	store, err := a.startStore()
	if err != nil {
		return nil, err
	}
	return proxy.NewLimiter(proxy.LimiterConfig{Store: store, Replicas: a.cfg.Redis.FallbackReplicas, Metrics: a.reg, Logger: a.log})
}

func (a *App) startStore() (limit.Store, error) {
	if a.cfg.Redis.URL == "" {
		store := limit.NewMemory(limit.MemoryConfig{})
		store.Start()
		a.onStop(store.Stop)
		return store, nil
	}
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlane_redis_up", Help: "1 while Redis answers, else 0."})
	if err := a.reg.Register(up); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	up.Set(1)
	db, err := DialRedis(a.cfg.Redis)
	if err != nil {
		return nil, err
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
	return store, nil
}

// DialRedis connects to the configured Redis.
func DialRedis(cfg config.RedisConfig) (redis.UniversalClient, error) {
	roots, err := config.Certificates(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("redis.ca_file: %w", err)
	}
	return limit.Address{URL: cfg.URL, CAs: roots}.Dial()
}
