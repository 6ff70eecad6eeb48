package broker

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"fairlane/scheduler/loop"
)

const (
	reconnectEmbedded = 10 * time.Millisecond
	reconnectExternal = 250 * time.Millisecond
	defaultOpenWait   = 10 * time.Second
	// defaultFrameBudget is in bytes; NATS' own default of 64 MB drops frames of
	// all calls when one client is slow.
	defaultFrameBudget = 256 << 20
)

// Storage is where the streams are kept.
type Storage string

// The storages.
const (
	StoreFile   Storage = "file"
	StoreMemory Storage = "memory"
)

// Config is a broker's.
type Config struct {
	URL       string      // of the external NATS, several by commas; empty: a server in this process
	CredsFile string      // of the external NATS; empty: none
	TLS       *tls.Config // towards the external NATS; nil: as the URL says

	Replicas   int     // of stream and lease in an external cluster; 0: 1
	Store      Storage // empty: StoreFile
	Dir        string  // of the embedded server's files; not needed with StoreMemory
	SyncAlways bool    // the embedded server syncs every publish to the disk

	FrameBudget int // bytes of frames that may wait for this process' proxy; 0: 256 MB
	// Changed is called with what Up says whenever that changes. It must not block.
	Changed func(err error)
	Logger  *slog.Logger

	lookEvery time.Duration // how often the store is looked at; 0: 1 s
}

func (c Config) withDefaults() Config {
	c.Replicas = max(c.Replicas, 1)
	c.Store = cmp.Or(c.Store, StoreFile)
	c.lookEvery = cmp.Or(c.lookEvery, defaultLook)
	c.FrameBudget = cmp.Or(c.FrameBudget, defaultFrameBudget)
	if c.Changed == nil {
		c.Changed = func(error) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Store != StoreFile && c.Store != StoreMemory:
		return fmt.Errorf("store: %q is neither file nor memory", c.Store)
	case c.URL == "" && c.Store == StoreFile && c.Dir == "":
		return errors.New("dir: the embedded store needs a directory")
	case c.URL == "" && c.Replicas > 1:
		return errors.New("replicas: only an external cluster has more than one")
	}
	return nil
}

// NewID makes an id for a request or a role: short, unique, and fit for a subject.
func NewID() string { return nuid.Next() }

// Broker is the way to NATS. All its methods may be called concurrently.
type Broker struct {
	cfg    Config
	server *embedded // nil: an external NATS
	nc     *nats.Conn
	js     jetstream.JetStream
	bus    *Bus

	state  atomic.Pointer[health]
	cancel context.CancelFunc
	loops  sync.WaitGroup
	closed sync.Once

	mu      sync.Mutex
	streams []*Stream // to be flushed at Close
}

// Open starts the embedded server, or connects to the external one: until ctx
// ends, or for 10 s if it has no deadline.
func Open(ctx context.Context, cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	b := &Broker{cfg: cfg}
	if cfg.URL == "" {
		server, err := startEmbedded(cfg)
		if err != nil {
			return nil, fmt.Errorf("start the embedded nats: %w", err)
		}
		b.server = server
	}
	if err := b.connect(ctx); err != nil {
		b.server.stop()
		return nil, err
	}
	watch, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b.cancel = cancel
	b.loops.Go(func() { b.watch(watch) })
	return b, nil
}

// connect retries, because a NATS that starts beside us may need a moment.
func (b *Broker) connect(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultOpenWait)
		defer cancel()
	}
	for {
		err := b.dial(ctx)
		if err == nil {
			return nil
		}
		if b.server != nil || !loop.Pause(ctx, reconnectExternal) {
			return fmt.Errorf("connect to nats: %w", err)
		}
	}
}

func (b *Broker) dial(ctx context.Context) error {
	nc, err := nats.Connect(b.cfg.URL, b.options()...)
	if err != nil {
		return err
	}
	if b.js, err = jetstream.New(nc); err == nil {
		_, err = b.js.AccountInfo(ctx)
	}
	if err == nil {
		b.nc = nc
		b.bus, err = newBus(nc, b.cfg)
	}
	if err != nil {
		nc.Close()
		return err
	}
	b.state.Store(&health{})
	return nil
}

func (b *Broker) options() []nats.Option {
	opts := []nats.Option{
		nats.Name("fairlane"),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1),
		nats.ReconnectWait(reconnectExternal),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { b.disconnected(err) }),
		nats.ReconnectHandler(func(*nats.Conn) { b.cfg.Logger.Info("connected to nats again") }),
		nats.ErrorHandler(b.asyncError),
	}
	if b.server != nil {
		return append(opts, nats.InProcessServer(b.server.nats), nats.ReconnectWait(reconnectEmbedded))
	}
	if b.cfg.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(b.cfg.CredsFile))
	}
	if b.cfg.TLS != nil {
		opts = append(opts, nats.Secure(b.cfg.TLS))
	}
	return opts
}

func (b *Broker) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	attrs := []any{slog.Any("error", err)}
	if sub != nil {
		attrs = append(attrs, slog.String("subject", sub.Subject))
	}
	b.cfg.Logger.Warn("nats reports an error", attrs...)
}

// Embedded reports whether the NATS server runs in this process.
func (b *Broker) Embedded() bool { return b.server != nil }

// Bus is where the roles find each other.
func (b *Broker) Bus() *Bus { return b.bus }

// Close sends what is left to delete, within 2 s, and ends the connection and
// the embedded server. A second Close is nothing.
func (b *Broker) Close() {
	b.closed.Do(func() {
		b.mu.Lock()
		streams := b.streams
		b.mu.Unlock()
		deadline := time.Now().Add(closePatience)
		for _, s := range streams {
			s.deletes.close(deadline)
		}
		b.cancel()
		b.loops.Wait()
		b.bus.close()
		b.nc.Close()
		b.server.stop()
	})
}
