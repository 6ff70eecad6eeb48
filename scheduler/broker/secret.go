package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	secretBucket = "FL_SECRETS"
	secretBytes  = 32
)

// Secret is a random key of a name that all processes of an installation have in
// common. Who asks first makes it, and it stays. Whoever may read the store may
// read it.
func (b *Broker) Secret(ctx context.Context, name string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	kv, err := b.keys(ctx, jetstream.KeyValueConfig{Bucket: secretBucket, Description: "keys that all processes have in common", MaxBytes: 64 << 10})
	if err != nil {
		return nil, err
	}
	mine := make([]byte, secretBytes)
	rand.Read(mine)
	_, err = kv.Create(ctx, name, mine)
	switch {
	case err == nil:
		return mine, nil
	case !errors.Is(err, jetstream.ErrKeyExists):
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	e, err := kv.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("secret %q: %w", name, err)
	}
	return e.Value(), nil
}
