package broker

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	createPatience = time.Second
	expiryPause    = 250 * time.Millisecond // between looks at a key that ought to be gone
)

var errWatch = errors.New("the key can't be watched any more")

// campaign returns when the lease is ours, or with an error when it can't be
// asked for.
func (l *Lease) campaign(ctx context.Context) (*term, error) {
	kv, err := l.bucket(ctx)
	if err != nil {
		return nil, err
	}
	t, err := l.take(ctx, kv)
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return t, err
	}
	watcher, err := kv.Watch(ctx, l.cfg.Pool, jetstream.MetaOnly())
	if err != nil {
		return nil, err
	}
	defer func() { _ = watcher.Stop() }() // it fails where the connection ended, and the watch with it
	expiry := time.NewTimer(l.cfg.TTL)
	defer expiry.Stop()
	for {
		if err := l.standBy(ctx, watcher.Updates(), expiry); err != nil {
			return nil, err
		}
		t, err := l.take(ctx, kv)
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return t, err
		}
	}
}

// standBy returns when it is worth to try: the key was deleted, or it was not
// renewed for as long as it lives. NATS tells only of the first.
func (l *Lease) standBy(ctx context.Context, updates <-chan jetstream.KeyValueEntry, expiry *time.Timer) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-expiry.C:
			expiry.Reset(expiryPause)
			return nil
		case e, ok := <-updates:
			switch {
			case !ok:
				return errWatch
			case e == nil: // that was all there is now
			case e.Operation() == jetstream.KeyValuePut:
				expiry.Reset(l.cfg.TTL)
			default:
				return nil
			}
		}
	}
}

// take creates the key. Time counts from before.
func (l *Lease) take(ctx context.Context, kv jetstream.KeyValue) (*term, error) {
	ctx, cancel := context.WithTimeout(ctx, createPatience)
	defer cancel()
	sent := l.now()
	revision, err := kv.Create(ctx, l.cfg.Pool, []byte(l.cfg.Holder))
	if err != nil {
		return nil, err
	}
	created, err := bucketCreated(ctx, kv)
	if err != nil {
		return nil, err
	}
	epoch, err := epochOf(created, revision)
	if err != nil {
		return nil, err
	}
	l.seen.Store(l.now())
	l.until.Store(sent + l.worth())
	return &term{kv: kv, created: created, revision: revision, epoch: epoch}, nil
}
