package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

const (
	defaultLook  = time.Second
	lookPatience = 2 * time.Second
	// beforeRevival is how often in a row the embedded store says that it is ill
	// until it is opened anew, which is hard on whoever is using it.
	beforeRevival = 3
)

var errIll = errors.New("the embedded store is ill")

// health is what was last seen of the store; a nil err means that it answers.
type health struct{ err error }

// Up is nil while the store answers, as of the last second.
func (b *Broker) Up() error { return b.state.Load().err }

func (b *Broker) disconnected(err error) {
	if b.nc == nil || b.nc.IsClosed() {
		return
	}
	if err == nil {
		err = errors.New("the connection ended")
	}
	b.see(err)
}

// watch looks after the store until ctx ends.
func (b *Broker) watch(ctx context.Context) {
	ticker := time.NewTicker(b.cfg.lookEvery)
	defer ticker.Stop()
	ill := 0 // looks in a row
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := b.look(ctx)
		if ctx.Err() != nil {
			return
		}
		b.see(err)
		if ill++; !errors.Is(err, errIll) {
			ill = 0
		}
		if ill >= beforeRevival {
			b.revive()
			ill = 0
		}
	}
}

func (b *Broker) look(ctx context.Context) error {
	if err := b.ill(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	_, err := b.js.AccountInfo(ctx)
	return err
}

// ill is what the embedded store says of itself, and Up from then on; nil: nothing.
// To repeat a publish does not help then.
func (b *Broker) ill() error {
	if b.server == nil {
		return nil
	}
	err := b.server.health()
	if err != nil {
		err = fmt.Errorf("%w: %w", errIll, err)
		b.see(err)
	}
	return err
}

func (b *Broker) revive() {
	if err := b.server.revive(); err != nil {
		b.cfg.Logger.Debug("the store stays closed", slog.Any("error", err))
		return
	}
	b.cfg.Logger.Info("the store was opened again")
}

// see records what was seen and tells of a change.
func (b *Broker) see(err error) {
	before := b.state.Swap(&health{err})
	switch {
	case err != nil && (before == nil || before.err == nil):
		b.cfg.Logger.Error("nats does not answer", slog.Any("error", err))
	case err == nil && before != nil && before.err != nil:
		b.cfg.Logger.Info("nats answers again")
	default:
		return
	}
	b.cfg.Changed(err)
}
