package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"fairlane/scheduler"
	"fairlane/scheduler/loop"
)

const (
	tailBatch     = 2048
	tailHeartbeat = time.Second
	tailExpiry    = 30 * time.Second
	tailAsk       = 50 * time.Millisecond // how often it is asked whether all is loaded
	tailPause     = 100 * time.Millisecond
	// tailRest is how often the stream of an embedded server is looked at for
	// entries of which nobody told: their publisher's client had left.
	tailRest     = 2 * time.Second
	tailEar      = 1024        // entries that wait to be told
	consumerIdle = time.Minute // after which the server forgets a reader
	apiPatience  = 2 * time.Second
)

var errMissed = errors.New("a message is missing")

// Tail reads the stream in order from a sequence (0 and 1: from the beginning),
// and goes on with what comes, until ctx ends. entry is called once for each, with
// an error for one that can't be decoded; loaded is called once, when all that was
// there had been read. Of what is published in this process the last Tail that
// began hears when it is stored, from a goroutine of its own and perhaps out of
// order; all else is told by the caller's. An entry that blocks keeps no publisher:
// what it can't be told now is read later. Lost connections and lost consumers are
// made up for; an error is returned only when ctx ends or the broker was closed.
func (s *Stream) Tail(ctx context.Context, from uint64, entry func(seq uint64, e *scheduler.Entry, err error), loaded func()) error {
	t := &tail{s: s, known: newReading(from), entry: entry, loaded: loaded, ear: make(chan told, tailEar)}
	ctx, cancel := context.WithCancel(ctx)
	var listens sync.WaitGroup
	defer listens.Wait()
	defer cancel()
	listens.Go(func() { t.listen(ctx) })
	s.deletes.follow(t.known)
	s.reader.Store(t)
	defer s.reader.CompareAndSwap(t, nil)
	for {
		err := t.read(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, nats.ErrConnectionClosed) {
			return err
		}
		if err == nil { // there is nobody else who could publish
			t.loaded = func() {}
			if !loop.Pause(ctx, s.rest) {
				return ctx.Err()
			}
			continue
		}
		s.b.cfg.Logger.DebugContext(ctx, "the stream is read anew", slog.String("pool", s.pool), slog.Uint64("from", t.known.frontier()), slog.Any("error", err))
		if !loop.Pause(ctx, tailPause) {
			return ctx.Err()
		}
	}
}

// tail is where a reader of the stream is. It outlives its consumers.
type tail struct {
	s      *Stream
	known  *reading
	entry  func(uint64, *scheduler.Entry, error)
	loaded func() // nil after it was called
	ear    chan told
}

// told is an entry that was published here, of which nobody may know yet.
type told struct {
	seq   uint64
	entry *scheduler.Entry
}

// tell lets a reader in this process know of an entry as soon as it is stored,
// which is sooner than to read it. It gets a copy: an entry lies in what holds the
// request's body. A reader that has its hands full will read it.
func (t *tail) tell(seq uint64, e *scheduler.Entry) {
	clone := *e
	select {
	case t.ear <- told{seq, &clone}:
	default:
	}
}

// listen takes what is told until ctx ends. An entry is claimed only here, so that
// what nobody listened to is still news when it is read.
func (t *tail) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-t.ear:
			if t.known.told(m.seq) {
				t.entry(m.seq, m.entry, nil)
			}
		}
	}
}

// read follows one consumer until it fails or ctx ends. Where all that is
// published is published here it returns nil when it has caught up.
func (t *tail) read(ctx context.Context) error {
	cons, err := t.consumer(ctx)
	if err != nil {
		return err
	}
	defer t.drop(ctx, cons)
	messages, err := cons.Messages(jetstream.PullMaxMessages(tailBatch), jetstream.PullExpiry(tailExpiry), jetstream.PullHeartbeat(tailHeartbeat))
	if err != nil {
		return err
	}
	defer messages.Stop()
	for expect := uint64(1); ; {
		m, err := t.message(ctx, messages)
		switch {
		case err == nil:
			if err := t.take(m, expect); err != nil {
				return err
			}
			expect++
		case ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded): // quiet for a moment
			if err := t.ask(ctx, cons, expect); err != nil {
				return err
			}
		default:
			return err
		}
		if t.loaded == nil && t.s.b.server != nil {
			return nil
		}
	}
}

func (t *tail) consumer(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	return t.s.b.js.CreateConsumer(ctx, t.s.name, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       t.known.frontier(),
		AckPolicy:         jetstream.AckNonePolicy,
		HeadersOnly:       true,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: consumerIdle,
	})
}

// drop tells the server that a consumer is not needed any more; it would find
// out by itself, later.
func (t *tail) drop(ctx context.Context, cons jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), apiPatience/4)
	defer cancel()
	_ = t.s.b.js.DeleteConsumer(ctx, t.s.name, cons.CachedInfo().Name)
}

// message waits for the next one; until the stream is loaded, not for long.
func (t *tail) message(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	if t.loaded != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, tailAsk)
		defer cancel()
	}
	return messages.Next(jetstream.NextContext(ctx))
}

func (t *tail) take(m jetstream.Msg, expect uint64) error {
	meta, err := m.Metadata()
	if err != nil {
		return err
	}
	if meta.Sequence.Consumer != expect {
		return fmt.Errorf("%w: %d came for %d", errMissed, meta.Sequence.Consumer, expect)
	}
	if t.known.read(meta.Sequence.Stream) {
		e, err := decodeEntry(m.Headers())
		t.entry(meta.Sequence.Stream, e, err)
	}
	if meta.NumPending == 0 {
		t.done()
	}
	return nil
}

// ask finds out that all is loaded where no message says so: the stream may be
// empty, or its last entries were deleted while it was read.
func (t *tail) ask(ctx context.Context, cons jetstream.Consumer, expect uint64) error {
	if t.loaded == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	info, err := cons.Info(ctx)
	if err != nil {
		return err
	}
	if info.NumPending == 0 && info.Delivered.Consumer < expect { // and nothing is under way
		t.done()
	}
	return nil
}

func (t *tail) done() {
	if t.loaded != nil {
		t.loaded()
		t.loaded = nil
	}
}

// DropSync removes every entry whose client waited for it: after a restart of
// the whole there is no such client. To be called before anybody publishes or
// reads.
func (s *Stream) DropSync(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var drop []uint64
	keep, last, all := 0, uint64(0), false
	fn := func(seq uint64, e *scheduler.Entry, err error) {
		last = seq
		if err == nil && e.Mode != scheduler.ModeSync {
			keep++
			return
		}
		drop = append(drop, seq)
	}
	if err := s.Tail(ctx, 1, fn, func() { all = true; cancel() }); err != nil && !all {
		return fmt.Errorf("read pool %q: %w", s.pool, err)
	}
	return s.drop(context.WithoutCancel(ctx), drop, keep, last)
}

func (s *Stream) drop(ctx context.Context, seqs []uint64, keep int, last uint64) error {
	if keep == 0 && last > 0 {
		return s.purgeNow(ctx, last+1)
	}
	for _, seq := range seqs {
		if err := s.deleteNow(ctx, seq); err != nil {
			return err
		}
	}
	return nil
}
