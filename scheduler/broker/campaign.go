package broker

import (
	"bytes"
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
	watcher, err := kv.Watch(ctx, l.cfg.Pool)
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
// renewed for as long as it lives, or it is ours. NATS tells only of the first.
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
			case e.Operation() == jetstream.KeyValuePut && !l.wrote(e):
				expiry.Reset(l.cfg.TTL)
			default:
				return nil
			}
		}
	}
}

// take creates the key, or makes it new if it is ours. Time counts from before. A
// key that begins no term is given back, or it would keep everybody waiting.
func (l *Lease) take(ctx context.Context, kv jetstream.KeyValue) (*term, error) {
	try, cancel := context.WithTimeout(ctx, createPatience)
	defer cancel()
	sent := l.now()
	revision, err := kv.Create(try, l.cfg.Pool, l.mark)
	if errors.Is(err, jetstream.ErrKeyExists) {
		revision, err = l.reclaim(try, kv, err)
	}
	if err != nil {
		return nil, err
	}
	t := &term{kv: kv, revision: revision}
	if err := t.begin(try); err != nil {
		l.release(ctx, t, l.b.cfg.Logger)
		return nil, err
	}
	l.seen.Store(l.now())
	l.until.Store(sent + l.worth())
	return t, nil
}

// begin gives a term whose key is ours its epoch.
func (t *term) begin(ctx context.Context) (err error) {
	if t.created, err = bucketCreated(ctx, t.kv); err == nil {
		t.epoch, err = epochOf(t.created, t.revision)
	}
	return err
}

// reclaim replaces the key, and returns its new revision, if it is ours: NATS
// applied a write of which it could not tell us. Otherwise it returns why, which is
// what the last write met.
func (l *Lease) reclaim(ctx context.Context, kv jetstream.KeyValue, why error) (uint64, error) {
	e, err := kv.Get(ctx, l.cfg.Pool)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return 0, why
	case err != nil:
		return 0, err
	case !l.wrote(e):
		return 0, why
	}
	return kv.Update(ctx, l.cfg.Pool, l.mark, e.Revision())
}

// wrote reports whether what a key holds comes from this lease.
func (l *Lease) wrote(e jetstream.KeyValueEntry) bool { return bytes.Equal(e.Value(), l.mark) }
