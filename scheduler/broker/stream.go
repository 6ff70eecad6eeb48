package broker

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlane/scheduler"
	"fairlane/scheduler/loop"
)

const (
	maxPerFlow      = 4096 // running entries count too, so this is never the bound that people meet
	defaultMaxMsgs  = 100_000
	externalBytes   = 256 << 20 // an external NATS may want every stream bounded
	duplicates      = 30 * time.Second
	publishPatience = 10 * time.Second // an election in a cluster of three takes 4 to 9 s
	publishTry      = 2 * time.Second
	publishPause    = 50 * time.Millisecond
	defaultMaxAge   = 24 * time.Hour
)

// StreamConfig is a pool's stream.
type StreamConfig struct {
	Pool string
	// MaxAge is when an entry is dropped whatever happened to it: the longest
	// wait and the longest run together. 0: 24 h.
	MaxAge  time.Duration
	MaxMsgs int64 // entries that wait or run; 0: 100,000
}

// Stream is the queue's log of one pool.
type Stream struct {
	b       *Broker
	pool    string
	name    string
	deletes *deletes
	cached  atomic.Pointer[jetstream.Stream]
	reader  atomic.Pointer[tail] // the last that began
	rest    time.Duration        // tailRest, but in tests
}

// Stream creates a pool's stream, or brings it to what is configured now.
func (b *Broker) Stream(ctx context.Context, cfg StreamConfig) (*Stream, error) {
	if !validName(cfg.Pool) {
		return nil, fmt.Errorf("pool %q: a name is 1 to 32 of a-z, 0-9, - and _, and begins with a letter or digit", cfg.Pool)
	}
	if _, err := b.js.CreateOrUpdateStream(ctx, b.streamConfig(cfg)); err != nil {
		return nil, fmt.Errorf("stream of pool %q: %w", cfg.Pool, err)
	}
	s := &Stream{b: b, pool: cfg.Pool, name: streamName(cfg.Pool), rest: tailRest}
	s.deletes = newDeletes(s.deleteNow, s.purgeNow, b.cfg.Logger)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams = append(b.streams, s)
	return s, nil
}

// handle is what the client wants to see for calls about the stream itself. It
// only knows the name, so it stays good.
func (s *Stream) handle(ctx context.Context) (jetstream.Stream, error) {
	if h := s.cached.Load(); h != nil {
		return *h, nil
	}
	h, err := s.b.js.Stream(ctx, s.name)
	if err == nil {
		s.cached.Store(&h)
	}
	return h, err
}

func (b *Broker) streamConfig(cfg StreamConfig) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name:                 streamName(cfg.Pool),
		Subjects:             []string{poolSubjects(cfg.Pool)},
		Retention:            jetstream.LimitsPolicy,
		Storage:              b.storage(),
		Discard:              jetstream.DiscardNew,
		DiscardNewPerSubject: true,
		MaxMsgsPerSubject:    maxPerFlow,
		MaxMsgs:              cmp.Or(cfg.MaxMsgs, defaultMaxMsgs),
		MaxBytes:             -1,
		MaxAge:               cmp.Or(cfg.MaxAge, defaultMaxAge),
		Duplicates:           duplicates,
		Replicas:             b.cfg.Replicas,
	}
	c.Duplicates = min(c.Duplicates, c.MaxAge)
	if b.server == nil {
		c.MaxBytes = externalBytes
	}
	return c
}

func (b *Broker) storage() jetstream.StorageType {
	if b.cfg.Store == StoreMemory {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// Publish puts an entry into the stream and returns its sequence when JetStream
// has it. Without an answer it is repeated, with the same message id, for up to
// 10 s and not beyond the entry's deadline, unless the store is known to be broken.
// The error carries the scheduler.Problem that the client is told, if it is still
// there. After an error the entry may have arrived all the same.
func (s *Stream) Publish(ctx context.Context, e *scheduler.Entry) (uint64, error) {
	if e.Pool != s.pool {
		return 0, fmt.Errorf("an entry of pool %q in the stream of %q", e.Pool, s.pool)
	}
	h, err := encodeEntry(e)
	if err != nil {
		return 0, err
	}
	until := time.Now().Add(publishPatience)
	if !e.Deadline.IsZero() && e.Deadline.Before(until) {
		until = e.Deadline
	}
	subject := "fl.req." + s.pool + "." + e.Class + "." + flowOf(e.User)
	for wait := publishPause; ; wait = min(2*wait, publishTry/4) {
		seq, err := s.publishOnce(ctx, until, &nats.Msg{Subject: subject, Header: h})
		if err == nil {
			if t := s.reader.Load(); t != nil {
				t.tell(seq, e)
			}
			return seq, nil
		}
		if end := s.b.publishEnds(err); end != nil {
			return 0, end
		}
		if !loop.Pause(ctx, min(wait, time.Until(until))) || !time.Now().Before(until) {
			return 0, storeError(err)
		}
	}
}

// publishOnce is one try, which does not go on beyond until.
func (s *Stream) publishOnce(ctx context.Context, until time.Time, m *nats.Msg) (uint64, error) {
	if try := time.Now().Add(publishTry); try.Before(until) {
		until = try
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	ack, err := s.b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}
