package quota

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a [Source] whose overrides are keys of their own.
type Redis struct{ DB redis.UniversalClient }

const (
	atOnce  = 500  // names in one command
	scanned = 1000 // keys that one step of a scan looks at
	tries   = 5    // of a step
	between = 500 * time.Millisecond
)

// noText stands for what is no text, and can't be read.
const noText = "(a key that holds no string)"

// Read asks for names, many at once.
func (r Redis) Read(ctx context.Context, names []string) (map[string]Found, error) {
	if len(names) == 0 {
		return nil, r.DB.Ping(ctx).Err()
	}
	out := make(map[string]Found, len(names))
	if _, cluster := r.DB.(*redis.ClusterClient); cluster {
		return out, r.readEach(ctx, names, out)
	}
	for len(names) > 0 {
		some := names[:min(atOnce, len(names))]
		names = names[len(some):]
		if err := r.readMany(ctx, some, out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// readMany reads names in one command. What is no string it takes for nothing, and
// so it is counted what there is; that is one round trip all the same.
func (r Redis) readMany(ctx context.Context, names []string, out map[string]Found) error {
	pipe := r.DB.Pipeline()
	got, there := pipe.MGet(ctx, names...), pipe.Exists(ctx, names...)
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	found := make(map[string]Found, len(names))
	n := int64(0)
	for i, v := range got.Val() {
		text, set := v.(string)
		found[names[i]] = Found{text, set}
		if set {
			n++
		}
	}
	if there.Val() != n {
		return r.readEach(ctx, names, out)
	}
	maps.Copy(out, found)
	return nil
}

// readEach reads names one by one, together: they may lie in many slots, and one may
// be no string. What fails for one says nothing of the others.
func (r Redis) readEach(ctx context.Context, names []string, out map[string]Found) error {
	pipe := r.DB.Pipeline()
	asked := make([]*redis.StringCmd, len(names))
	for i, name := range names {
		asked[i] = pipe.Get(ctx, name)
	}
	_, _ = pipe.Exec(ctx) // its error is that of one of them
	var failed error
	for i, a := range asked {
		switch text, err := a.Result(); {
		case err == nil:
			out[names[i]] = Found{text, true}
		case errors.Is(err, redis.Nil):
			out[names[i]] = Found{}
		case strings.HasPrefix(err.Error(), "WRONGTYPE"):
			out[names[i]] = Found{noText, true}
		default:
			failed = fmt.Errorf("redis: %w", err)
		}
	}
	return failed
}

// Ends says when names end.
func (r Redis) Ends(ctx context.Context, names []string) (map[string]time.Time, error) {
	out := map[string]time.Time{}
	for len(names) > 0 {
		some := names[:min(atOnce, len(names))]
		names = names[len(some):]
		pipe := r.DB.Pipeline()
		left := make([]*redis.DurationCmd, len(some))
		for i, name := range some {
			left[i] = pipe.PTTL(ctx, name)
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("redis: %w", err)
		}
		for i, name := range some {
			if d := left[i].Val(); d > 0 {
				out[name] = time.Now().Add(d)
			}
		}
	}
	return out, nil
}

// Names walks through all keys: in a cluster those of every master.
func (r Redis) Names(ctx context.Context, visit func(names []string) error) error {
	c, cluster := r.DB.(*redis.ClusterClient)
	if !cluster {
		return r.walk(ctx, r.DB, visit)
	}
	var one sync.Mutex // visits at a time
	return c.ForEachMaster(ctx, func(ctx context.Context, db *redis.Client) error {
		return r.walk(ctx, db, func(names []string) error {
			one.Lock()
			defer one.Unlock()
			return visit(names)
		})
	})
}

// walk goes on where it was if a step fails in between: in a large Redis it takes
// long, and would else never reach the end of one that is sometimes slow.
func (r Redis) walk(ctx context.Context, db redis.Cmdable, visit func(names []string) error) error {
	for cursor, failed := uint64(0), 0; ; {
		step, cancel := context.WithTimeout(ctx, patience)
		names, next, err := db.Scan(step, cursor, Prefix+"*", scanned).Result()
		cancel()
		if err == nil {
			err = visit(names)
		}
		if err == nil {
			if cursor, failed = next, 0; cursor == 0 {
				return nil
			}
			continue
		}
		if failed++; cursor == 0 || failed == tries {
			return fmt.Errorf("redis: %w", err)
		}
		if err := rest(ctx, between); err != nil {
			return err
		}
	}
}

// rest waits, unless the context ends before.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
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
