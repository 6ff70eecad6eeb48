package arrivals

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"fairlane/scheduler/loop"
)

const (
	defaultFile = 16 << 20
	mostFiles   = 16
	waiting     = 4096 // records that wait to be written
	flushEvery  = time.Second
	dirMode     = 0o700
	fileMode    = 0o600
	prefix      = "arrivals-"
	suffix      = ".jsonl"
)

// RecorderConfig is a Recorder's.
type RecorderConfig struct {
	Dir     string // is made if it is not there
	MaxFile int64  // bytes of one file; 0: 16 MB
	Files   int    // that are kept; 0: 16
	Logger  *slog.Logger
}

// Recorder writes arrivals to files of bounded size, of which the oldest are
// deleted. Whoever records never waits: what the disk does not take is dropped, and
// told. A file is whole but for its last line, whatever happens to the process.
type Recorder struct {
	cfg     RecorderConfig
	in      chan Arrival
	dropped atomic.Int64

	file *os.File
	out  *bufio.Writer
	size int64
	line []byte
	last time.Time // in the name of the file

	writer loop.Loop
}

// NewRecorder makes a recorder; an error names the directory that can't be used.
func NewRecorder(cfg RecorderConfig) (*Recorder, error) {
	cfg.MaxFile, cfg.Files = cmp.Or(cfg.MaxFile, defaultFile), cmp.Or(cfg.Files, mostFiles)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Recorder{cfg: cfg, in: make(chan Arrival, waiting)}
	if err := os.MkdirAll(cfg.Dir, dirMode); err != nil {
		return nil, fmt.Errorf("arrivals: %w", err)
	}
	if err := r.open(time.Now()); err != nil {
		return nil, err
	}
	return r, nil
}

// Record takes one arrival. It does not block.
func (r *Recorder) Record(a *Arrival) {
	select {
	case r.in <- *a:
	default:
		r.dropped.Add(1)
	}
}

// Start begins to write. A second Start is nothing.
func (r *Recorder) Start(ctx context.Context) { r.writer.Start(ctx, r.run) }

// Stop writes what is left and closes the file. A second Stop is nothing.
func (r *Recorder) Stop() { r.writer.Stop() }

func (r *Recorder) run(ctx context.Context) {
	ticker := time.NewTicker(flushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			r.rest()
			r.flush()
			r.close()
			return
		case a := <-r.in:
			r.write(&a)
		case <-ticker.C:
			r.flush()
		}
	}
}

// rest writes what waits.
func (r *Recorder) rest() {
	for {
		select {
		case a := <-r.in:
			r.write(&a)
		default:
			return
		}
	}
}

func (r *Recorder) write(a *Arrival) {
	line, err := Append(r.line[:0], a)
	if err != nil {
		r.cfg.Logger.Error("an arrival can't be recorded", slog.Any("error", err))
		return
	}
	r.line = line
	if r.file == nil || r.size+int64(len(line)) > r.cfg.MaxFile {
		r.flush()
		r.close()
		if err := r.open(time.Now()); err != nil {
			r.lost(err)
			return
		}
	}
	r.size += int64(len(line))
	if _, err := r.out.Write(line); err != nil {
		r.lost(err)
		r.close()
	}
}

// lost counts a record that the disk did not take. What is told is told by flush,
// once a second at most.
func (r *Recorder) lost(err error) {
	if r.dropped.Add(1) == 1 {
		r.cfg.Logger.Error("arrivals are not recorded", slog.Any("error", err))
	}
}

// flush hands what is written to the system: from there on kill -9 does no harm.
func (r *Recorder) flush() {
	if n := r.dropped.Swap(0); n > 0 {
		r.cfg.Logger.Warn("arrivals were not recorded: the disk is too slow or full", slog.Int64("arrivals", n))
	}
	if r.file == nil {
		return
	}
	if err := r.out.Flush(); err != nil {
		r.lost(err)
		r.close()
	}
}

func (r *Recorder) close() {
	if r.file == nil {
		return
	}
	if err := r.file.Close(); err != nil {
		r.cfg.Logger.Warn("a recording was not closed in order", slog.Any("error", err))
	}
	r.file, r.out = nil, nil
}

// open begins a file. Its name sorts by time, each of ours after the one before;
// others may write beside us.
func (r *Recorder) open(now time.Time) error {
	if !now.After(r.last) {
		now = r.last.Add(time.Microsecond)
	}
	r.last = now
	name := prefix + now.UTC().Format("20060102T150405.000000Z") + fmt.Sprintf("-%04x", rand.Uint32()&0xffff) + suffix
	f, err := os.OpenFile(filepath.Join(r.cfg.Dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode) //nolint:gosec // the directory is the administrator's
	if err != nil {
		return fmt.Errorf("arrivals: %w", err)
	}
	r.file, r.out, r.size = f, bufio.NewWriterSize(f, 64<<10), 0
	r.prune()
	return nil
}

// prune deletes the oldest files beyond those that are kept.
func (r *Recorder) prune() {
	files, err := Files(r.cfg.Dir)
	for _, f := range files[:max(0, len(files)-r.cfg.Files)] {
		if rm := os.Remove(f); rm != nil && !errors.Is(rm, os.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}
	if err != nil {
		r.cfg.Logger.Warn("old recordings can't be deleted", slog.Any("error", err))
	}
}

// Files are the recordings in a directory, the oldest first. Each is to be read by
// itself: its last line may be cut.
func Files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("arrivals: %w", err)
	}
	var out []string
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, prefix) && strings.HasSuffix(n, suffix) {
			out = append(out, filepath.Join(dir, n))
		}
	}
	slices.Sort(out)
	return out, nil
}
