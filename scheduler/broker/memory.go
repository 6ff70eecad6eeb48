package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	memoryBucket = "FL_MEMORY"
	memoryBytes  = 16 << 20
)

// Memory keeps what the leader of a pool has learned, for its successor: one
// value, of which the last one counts.
type Memory struct {
	b    *Broker
	pool string
}

// Memory prepares the memory of a pool.
func (b *Broker) Memory(ctx context.Context, pool string) (*Memory, error) {
	if !validName(pool) {
		return nil, fmt.Errorf("memory: pool %q: a name is 1 to 32 of a-z, 0-9, - and _, and begins with a letter or digit", pool)
	}
	m := &Memory{b: b, pool: pool}
	if _, err := m.bucket(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// Roster prepares what operators changed of a pool's backends. It is kept as what
// the leader learned is.
func (b *Broker) Roster(ctx context.Context, pool string) (*Memory, error) {
	m, err := b.Memory(ctx, pool)
	if err != nil {
		return nil, err
	}
	m.pool = "roster." + pool // no name of a pool has a dot
	return m, nil
}

func (m *Memory) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	return m.b.keys(ctx, jetstream.KeyValueConfig{
		Bucket: memoryBucket, Description: "what the leader of a pool has learned, and what operators changed of its backends", MaxBytes: memoryBytes,
	})
}

// Save replaces what was saved before.
func (m *Memory) Save(ctx context.Context, b []byte) error {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	kv, err := m.bucket(ctx)
	if err != nil {
		return err
	}
	if _, err := kv.Put(ctx, m.pool, b); err != nil {
		return fmt.Errorf("memory of pool %q: %w", m.pool, err)
	}
	return nil
}

// Load is what was saved last; nothing, and no error, if that never happened.
func (m *Memory) Load(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	kv, err := m.bucket(ctx)
	if err != nil {
		return nil, err
	}
	e, err := kv.Get(ctx, m.pool)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("memory of pool %q: %w", m.pool, err)
	}
	return e.Value(), nil
}
