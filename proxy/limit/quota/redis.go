package quota

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a [Source] whose overrides are keys of their own.
type Redis struct{ DB redis.UniversalClient }

const (
	atOnce  = 500  // names in one command
	scanned = 1000 // keys that one step of a scan looks at
)

// Read asks for names, many at once.
func (r Redis) Read(ctx context.Context, names []string) (map[string]string, error) {
	out := map[string]string{}
	if len(names) == 0 {
		return out, r.DB.Ping(ctx).Err()
	}
	if _, cluster := r.DB.(*redis.ClusterClient); cluster {
		return r.readEach(ctx, names)
	}
	for len(names) > 0 {
		some := names[:min(atOnce, len(names))]
		names = names[len(some):]
		values, err := r.DB.MGet(ctx, some...).Result()
		if err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
		for i, v := range values {
			if text, ok := v.(string); ok {
				out[some[i]] = text
			}
		}
	}
	return out, nil
}

// readEach reads names that lie in many slots.
func (r Redis) readEach(ctx context.Context, names []string) (map[string]string, error) {
	pipe := r.DB.Pipeline()
	asked := make([]*redis.StringCmd, len(names))
	for i, name := range names {
		asked[i] = pipe.Get(ctx, name)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("redis: %w", err)
	}
	out := map[string]string{}
	for i, a := range asked {
		if text, err := a.Result(); err == nil {
			out[names[i]] = text
		}
	}
	return out, nil
}

// List walks through all keys: in a cluster those of every master.
func (r Redis) List(ctx context.Context) (map[string]Value, error) {
	names, err := r.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	texts, err := r.Read(ctx, names)
	if err != nil || len(texts) == 0 {
		return nil, err
	}
	pipe := r.DB.Pipeline()
	left := make(map[string]*redis.DurationCmd, len(texts))
	for name := range texts {
		left[name] = pipe.PTTL(ctx, name)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	out := make(map[string]Value, len(texts))
	for name, text := range texts {
		v := Value{Text: text}
		if d := left[name].Val(); d > 0 {
			v.Until = time.Now().Add(d)
		}
		out[name] = v
	}
	return out, nil
}

func (r Redis) names(ctx context.Context) ([]string, error) {
	var mu sync.Mutex
	var names []string
	walk := func(ctx context.Context, db redis.Cmdable) error {
		for cursor := uint64(0); ; {
			some, next, err := db.Scan(ctx, cursor, Prefix+"*", scanned).Result()
			if err != nil {
				return err
			}
			mu.Lock()
			names = append(names, some...)
			mu.Unlock()
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	if c, cluster := r.DB.(*redis.ClusterClient); cluster {
		err := c.ForEachMaster(ctx, func(ctx context.Context, db *redis.Client) error { return walk(ctx, db) })
		return names, err
	}
	err := walk(ctx, r.DB)
	return names, err
}

// Write sets or deletes one.
func (r Redis) Write(ctx context.Context, name string, v Value) error {
	if v.Text == "" {
		return r.DB.Del(ctx, name).Err()
	}
	var ttl time.Duration
	if !v.Until.IsZero() {
		ttl = max(time.Millisecond, time.Until(v.Until))
	}
	return r.DB.Set(ctx, name, v.Text, ttl).Err()
}
