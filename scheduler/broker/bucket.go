package broker

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

const bucketBytes = 16 << 20

// Bucket keeps values by name, for all processes and beyond a restart. All of
// them are in memory too, as of the last change that was heard of, also while
// JetStream is away.
type Bucket struct {
	b       *Broker
	name    string
	kv      jetstream.KeyValue
	watcher jetstream.KeyWatcher
	done    chan struct{}
	closed  sync.Once

	mu  sync.RWMutex
	all map[string][]byte
}

// keys makes a bucket of JetStream if it is not there: it may be wiped at any time. It
// is replicated and stored as all is, unless cfg wants it in memory.
func (b *Broker) keys(ctx context.Context, cfg jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	cfg.Replicas = b.cfg.Replicas
	if cfg.Storage != jetstream.MemoryStorage {
		cfg.Storage = b.storage()
	}
	kv, err := b.js.CreateOrUpdateKeyValue(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", cfg.Bucket, err)
	}
	return kv, nil
}

// Bucket opens a bucket and reads all that is in it.
func (b *Broker) Bucket(ctx context.Context, name string) (*Bucket, error) {
	ask, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	kv, err := b.keys(ask, jetstream.KeyValueConfig{Bucket: name, Description: "values that all processes have in common", MaxBytes: bucketBytes})
	if err != nil {
		return nil, err
	}
	// The watch lives as long as the bucket, not as long as whoever opens it.
	watcher, err := kv.WatchAll(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("watch bucket %s: %w", name, err)
	}
	k := &Bucket{b: b, name: name, kv: kv, watcher: watcher, done: make(chan struct{}), all: map[string][]byte{}}
	read := make(chan struct{})
	go k.listen(read)
	select {
	case <-read:
		return k, nil
	case <-k.done:
		err = jetstream.ErrNoStreamResponse
	case <-ask.Done():
		err = ask.Err()
	}
	k.Close()
	return nil, fmt.Errorf("read bucket %s: %w", name, err)
}

// listen follows the changes. The first nil says that all is read.
func (k *Bucket) listen(read chan<- struct{}) {
	defer close(k.done)
	for e := range k.watcher.Updates() {
		if e == nil {
			close(read)
			continue
		}
		name, err := hex.DecodeString(e.Key())
		if err != nil {
			k.b.cfg.Logger.Warn("a key that nobody here wrote is in a bucket", slog.String("bucket", k.name), slog.String("key", e.Key()))
			continue
		}
		k.mu.Lock()
		if e.Operation() == jetstream.KeyValuePut {
			k.all[string(name)] = e.Value()
		} else {
			delete(k.all, string(name))
		}
		k.mu.Unlock()
	}
}

// All is what is in the bucket.
func (k *Bucket) All() map[string][]byte {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return maps.Clone(k.all)
}

// Put sets a value. Any text can be a name.
func (k *Bucket) Put(ctx context.Context, name string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	if _, err := k.kv.Put(ctx, hex.EncodeToString([]byte(name)), value); err != nil {
		return fmt.Errorf("bucket %s: %w", k.name, err)
	}
	return nil
}

// Delete takes a value out. One that is not there is no error.
func (k *Bucket) Delete(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	if err := k.kv.Purge(ctx, hex.EncodeToString([]byte(name))); err != nil {
		return fmt.Errorf("bucket %s: %w", k.name, err)
	}
	return nil
}

// Close ends the watch. A second Close is nothing.
func (k *Bucket) Close() {
	k.closed.Do(func() { _ = k.watcher.Stop() }) // the connection's end has ended it, too
	<-k.done
}
