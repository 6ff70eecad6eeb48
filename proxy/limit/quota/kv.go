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

// Read gives all that there are.
func (k KV) Read(ctx context.Context, _ []string) (map[string]string, error) {
	all, err := k.List(ctx)
	if err != nil {
		return nil, err
	}
	texts := make(map[string]string, len(all))
	for name, v := range all {
		texts[name] = v.Text
	}
	return texts, nil
}

// List gives those that have not expired.
func (k KV) List(context.Context) (map[string]Value, error) {
	all, now := k.Bucket.All(), time.Now()
	out := make(map[string]Value, len(all))
	for name, b := range all {
		var v kept
		if err := json.Unmarshal(b, &v); err != nil {
			v.Limits = string(b) // somebody wrote it by hand
		}
		if strings.HasPrefix(name, Prefix) && (v.Until.IsZero() || v.Until.After(now)) {
			out[name] = Value{Text: v.Limits, Until: v.Until}
		}
	}
	return out, nil
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
