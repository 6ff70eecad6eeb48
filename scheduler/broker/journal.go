package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	journalBytes   = 256 << 20
	journalRecords = 1_000_000
)

// Journal keeps records in the order in which they were written, for a time.
type Journal struct {
	b       *Broker
	subject string
	stream  jetstream.Stream
}

// Journal opens a journal. maxAge is how long a record is kept; 0: for ever.
func (b *Broker) Journal(ctx context.Context, name string, maxAge time.Duration) (*Journal, error) {
	if !validName(name) {
		return nil, fmt.Errorf("journal %q: a name is 1 to 32 of a-z, 0-9, - and _, and begins with a letter or digit", name)
	}
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	subject := "fl.journal." + name
	most := int64(-1)
	if b.server == nil {
		most = journalBytes // an external NATS may want every stream bounded
	}
	s, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "FL_JOURNAL_" + name, Description: "records, oldest first", Subjects: []string{subject},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld, MaxAge: maxAge, MaxBytes: most, MaxMsgs: journalRecords,
		Replicas: b.cfg.Replicas, Storage: b.storage(), DenyDelete: true, Duplicates: min(duplicates, max(maxAge, 0)),
	})
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", name, err)
	}
	return &Journal{b: b, subject: subject, stream: s}, nil
}

// Append adds a record.
func (j *Journal) Append(ctx context.Context, record []byte) error {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	if _, err := j.b.js.Publish(ctx, j.subject, record); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Last are the newest records, at most n, newest first.
func (j *Journal) Last(ctx context.Context, n int) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, apiPatience)
	defer cancel()
	info, err := j.stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	var out [][]byte
	for seq := info.State.LastSeq; seq > 0 && seq >= info.State.FirstSeq && len(out) < n; seq-- {
		msg, err := j.stream.GetMsg(ctx, seq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound): // it has just become too old
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("journal: %w", err)
		}
		out = append(out, msg.Data)
	}
	return out, nil
}
