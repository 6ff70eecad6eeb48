package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	receiptsStream  = "FL_RECEIPTS"
	receiptsSubject = "fl.receipts"
	receiptsBytes   = 64 << 20
	leastReceipts   = 4 << 20 // with less room none are kept
	scanBatch       = 256
)

// Log keeps what is appended to it for as long as it is told, and no more bytes
// than it may: the oldest goes first. All processes share it.
type Log struct {
	b      *Broker
	maxAge time.Duration
}

// Receipts is the log of receipts. Where the store has little room it is smaller.
func (b *Broker) Receipts(ctx context.Context, maxAge time.Duration) (*Log, error) {
	l := &Log{b: b, maxAge: maxAge}
	if err := l.create(ctx); err != nil {
		return nil, fmt.Errorf("stream of the receipts: %w", err)
	}
	return l, nil
}

// create makes the stream, or brings it to what is configured now: it may be wiped
// at any time.
func (l *Log) create(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*apiPatience)
	defer cancel()
	for room := int64(receiptsBytes); room >= leastReceipts; room /= 2 {
		if _, err = l.b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: receiptsStream, Description: "why requests waited", Subjects: []string{receiptsSubject},
			Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, MaxAge: l.maxAge, MaxBytes: room, MaxMsgs: -1,
			Storage: l.b.storage(), Replicas: l.b.cfg.Replicas, Duplicates: min(time.Minute, l.maxAge),
		}); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// Append adds a piece, and returns when the store has it.
func (l *Log) Append(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	m := &nats.Msg{Subject: receiptsSubject, Data: data}
	_, err := l.b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		if err = l.create(ctx); err == nil {
			_, err = l.b.js.PublishMsg(ctx, m, jetstream.WithRetryAttempts(0))
		}
	}
	return err
}

// Scan reads what was appended since a time, in order, until fn returns false.
func (l *Log) Scan(ctx context.Context, since time.Time, fn func(data []byte) bool) error {
	cons, err := l.consumer(ctx, since)
	if err != nil {
		return fmt.Errorf("read the receipts: %w", err)
	}
	defer l.drop(ctx, cons)
	if cons.CachedInfo().NumPending == 0 {
		return nil
	}
	messages, err := cons.Messages(jetstream.PullMaxMessages(scanBatch))
	if err != nil {
		return fmt.Errorf("read the receipts: %w", err)
	}
	defer messages.Stop()
	for expect := uint64(1); ; expect++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read the receipts: %w", err)
		}
		meta, err := m.Metadata()
		switch {
		case err != nil:
			return err
		case meta.Sequence.Consumer != expect:
			return fmt.Errorf("read the receipts: %w: %d came for %d", errMissed, meta.Sequence.Consumer, expect)
		case !fn(m.Data()), meta.NumPending == 0:
			return nil
		}
	}
}

func (l *Log) consumer(ctx context.Context, since time.Time) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	cfg := jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: consumerIdle,
	}
	if !since.IsZero() {
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	return l.b.js.CreateConsumer(ctx, receiptsStream, cfg)
}

// drop tells the server that a reader has read.
func (l *Log) drop(ctx context.Context, cons jetstream.Consumer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), apiPatience/4)
	defer cancel()
	_ = l.b.js.DeleteConsumer(ctx, receiptsStream, cons.CachedInfo().Name) // else it finds out later
}
