package quota

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Bucket keeps values by name for all processes. It knows those of all names at
// any time, also while its server is away.
type Bucket interface {
	All() map[string][]byte
	Put(ctx context.Context, name string, value []byte) error
	Delete(ctx context.Context, name string) error
}

// KV is a [Source] in a bucket.
type KV struct{ Bucket Bucket }

// kept is a value as it lies in the bucket.
type kept struct {
	Limits string    `json:"limits"`
	Until  time.Time `json:"until,omitzero"`
}

// open reads a value; not ok: there is none that has not expired.
func open(b []byte, now time.Time) (v kept, ok bool) {
	if len(b) == 0 {
		return kept{}, false
	}
	if err := json.Unmarshal(b, &v); err != nil {
		v.Limits = string(b) // somebody wrote it by hand
	}
	return v, v.Until.IsZero() || v.Until.After(now)
}

// Read looks names up.
func (k KV) Read(_ context.Context, names []string) (map[string]Found, error) {
	all, now := k.Bucket.All(), time.Now()
	out := make(map[string]Found, len(names))
	for _, name := range names {
		v, set := open(all[name], now)
		out[name] = Found{v.Limits, set}
	}
	return out, nil
}

// Ends says when names end.
func (k KV) Ends(_ context.Context, names []string) (map[string]time.Time, error) {
	all, now, out := k.Bucket.All(), time.Now(), map[string]time.Time{}
	for _, name := range names {
		if v, set := open(all[name], now); set && !v.Until.IsZero() {
			out[name] = v.Until
		}
	}
	return out, nil
}

// Names visits all at once.
func (k KV) Names(_ context.Context, visit func(names []string) error) error {
	var names []string
	for name := range k.Bucket.All() {
		if strings.HasPrefix(name, Prefix) {
			names = append(names, name)
		}
	}
	return visit(names)
}

// Write sets or deletes one.
func (k KV) Write(ctx context.Context, name string, v Value) error {
	if v.Text == "" {
		return k.Bucket.Delete(ctx, name)
	}
	b, err := json.Marshal(kept{Limits: v.Text, Until: v.Until})
	if err != nil {
		return fmt.Errorf("quota %s: %w", name, err)
	}
	return k.Bucket.Put(ctx, name, b)
}
