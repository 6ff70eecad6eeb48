package broker

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	maxPayload   = 8 << 20
	maxPending   = 256 << 20
	maxStore     = 256 << 20
	minStore     = 16 << 20 // with less room on the disk there is no point in starting
	syncInterval = 10 * time.Second
	startWait    = 20 * time.Second
	dirMode      = 0o700
)

// embedded is a NATS server without a socket, with its directory.
type embedded struct {
	nats      *server.Server
	dir       string
	temporary bool
	sync      bool // every publish
	release   func()
}

func startEmbedded(cfg Config) (*embedded, error) {
	e := &embedded{dir: cfg.Dir, sync: cfg.SyncAlways, release: func() {}}
	room, err := e.prepare(cfg)
	if err != nil {
		return nil, err
	}
	opts := &server.Options{
		ServerName: "fairlane", DontListen: true, NoSigs: true, NoLog: true,
		MaxPayload: maxPayload, MaxPending: maxPending,
		JetStream: true, DisableJetStreamBanner: true, StoreDir: e.dir,
		JetStreamMaxStore: room, JetStreamMaxMemory: maxStore,
		SyncInterval: syncInterval, SyncAlways: cfg.SyncAlways,
	}
	if e.nats, err = server.NewServer(opts); err != nil {
		e.clean()
		return nil, err
	}
	e.nats.SetLoggerV2(serverLog{cfg.Logger}, false, false, false)
	e.nats.Start()
	if !e.nats.ReadyForConnections(startWait) {
		e.stop()
		return nil, errors.New("it is not ready in time")
	}
	if h := e.health(); h != nil {
		e.stop()
		return nil, h
	}
	return e, nil
}

// prepare makes the directory, takes it for this process alone, and says how
// many bytes the store may use there.
func (e *embedded) prepare(cfg Config) (int64, error) {
	if cfg.Store == StoreMemory {
		dir, err := os.MkdirTemp("", "fairlane-nats-") // the server wants one all the same
		e.dir, e.temporary = dir, true
		return maxStore, err
	}
	if err := os.MkdirAll(e.dir, dirMode); err != nil {
		return 0, err
	}
	if err := os.Chmod(e.dir, dirMode); err != nil {
		return 0, err
	}
	release, err := lockDir(e.dir)
	if err != nil {
		return 0, fmt.Errorf("%s is in use by another process: %w", e.dir, err)
	}
	e.release = release
	room, err := e.room()
	if err == nil && room < minStore {
		err = fmt.Errorf("%s has %d MB free, at least %d MB are needed", e.dir, room>>20, minStore>>20)
	}
	if err != nil {
		release()
		return 0, err
	}
	return room, nil
}

// room is how large the store may become: what it uses and three quarters of
// what is free, and not more than maxStore.
func (e *embedded) room() (int64, error) {
	free, err := freeBytes(e.dir)
	if err != nil {
		return 0, err
	}
	return min(free/4*3+usedBytes(e.dir), maxStore), nil
}

// health is nil while the store takes messages. A stream that met a full disk
// answers nobody from then on, and says so only here.
func (e *embedded) health() error {
	h := e.nats.Healthz(&server.HealthzOptions{})
	// 500 says that the server did not tell within a millisecond that it is up,
	// which it is: on a busy machine that is too short. What JetStream lacks is 503.
	if h.StatusCode == http.StatusOK || h.Status == "ok" || h.StatusCode == http.StatusInternalServerError {
		return nil
	}
	return errors.New(cmp.Or(h.Error, h.Status))
}

// revive opens the store again after the disk was full; only a store that is
// opened anew forgets that a write failed.
func (e *embedded) revive() error {
	room, err := e.room()
	if err != nil {
		return err
	}
	if room < minStore {
		return fmt.Errorf("the disk is full: %d MB left", room>>20)
	}
	if err := e.nats.ShutdownJetStream(); err != nil {
		return err
	}
	return e.nats.EnableJetStream(&server.JetStreamConfig{
		StoreDir: e.dir, MaxStore: room, MaxMemory: maxStore, SyncInterval: syncInterval, SyncAlways: e.sync,
	})
}

func (e *embedded) stop() {
	if e == nil {
		return
	}
	e.nats.Shutdown()
	e.nats.WaitForShutdown()
	e.clean()
}

func (e *embedded) clean() {
	e.release()
	if e.temporary {
		_ = os.RemoveAll(e.dir)
	}
}

func usedBytes(dir string) int64 {
	var sum int64
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what vanished uses nothing
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

// serverLog hands the server's warnings and errors on.
type serverLog struct{ log *slog.Logger }

func (l serverLog) say(level slog.Level, format string, v []any) {
	l.log.Log(nil, level, "embedded nats", slog.String("detail", fmt.Sprintf(format, v...))) //nolint:staticcheck // the server has no context
}

func (l serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l serverLog) Debugf(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
func (l serverLog) Tracef(format string, v ...any)  { l.say(slog.LevelDebug, format, v) }
