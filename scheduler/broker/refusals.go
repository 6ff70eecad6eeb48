package broker

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	refusalsSubject = "fl.refusals"
	claimsBucket    = "FL_CLAIMS"
	claimsBytes     = 4 << 20
	claimsFor       = 62 * 24 * time.Hour // longer than any window
)

// Refusals is how the edges tell each other whom they refused.
func (b *Broker) Refusals() Refusals { return Refusals{b} }

// Refusals reaches all processes, this one too.
type Refusals struct{ b *Broker }

// Publish tells all; who does not listen at the moment does not hear it.
func (r Refusals) Publish(data []byte) error { return r.b.nc.Publish(refusalsSubject, data) }

// Subscribe hears what all tell, one after the other.
func (r Refusals) Subscribe(fn func(data []byte)) (stop func(), err error) {
	sub, err := r.b.nc.Subscribe(refusalsSubject, func(m *nats.Msg) { fn(m.Data) })
	if err != nil {
		return nil, err
	}
	return func() { _ = sub.Unsubscribe() }, nil // the connection's end has ended it, too
}

// Claim is won by the first of all processes that asks for a key within a window.
// Until is when the next one may win.
func (r Refusals) Claim(ctx context.Context, key string, window time.Duration) (won bool, until time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	kv, err := r.b.keys(ctx, jetstream.KeyValueConfig{
		Bucket: claimsBucket, Description: "what one process has told, and no other needs to", TTL: claimsFor, MaxBytes: claimsBytes,
	})
	if err != nil {
		return false, time.Time{}, err
	}
	name := hex.EncodeToString([]byte(flowOf(key)))
	until = time.Now().Add(window)
	if _, err = kv.Create(ctx, name, nil); err == nil || !errors.Is(err, jetstream.ErrKeyExists) {
		return err == nil, until, err
	}
	e, err := kv.Get(ctx, name)
	if err != nil {
		return false, time.Time{}, err
	}
	if before := e.Created().Add(window); time.Now().Before(before) {
		return false, before, nil
	}
	if _, err = kv.Update(ctx, name, nil, e.Revision()); errors.Is(err, jetstream.ErrKeyExists) {
		return false, until, nil // somebody else was first
	}
	return err == nil, until, err
}
