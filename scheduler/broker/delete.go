package broker

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	deleters      = 8 // deletes of one stream under way at once
	deleteTry     = 2 * time.Second
	deletePause   = 50 * time.Millisecond
	closePatience = 2 * time.Second
)

// Delete takes an entry out of the stream, in the background and until JetStream
// says that it is gone. It does not block.
func (s *Stream) Delete(seq uint64) { s.deletes.add(seq) }

// deletion is a request to JetStream, and deletionAnswer what it says: the client
// library keeps of an error only its text.
type deletion struct {
	Seq     uint64 `json:"seq"`
	NoErase bool   `json:"no_erase"`
}

type deletionAnswer struct {
	Error *jetstream.APIError `json:"error"`
}

func (s *Stream) deleteNow(ctx context.Context, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTry)
	defer cancel()
	data, err := json.Marshal(deletion{Seq: seq, NoErase: true})
	if err != nil {
		return err
	}
	m, err := s.b.nc.RequestWithContext(ctx, jetstream.DefaultAPIPrefix+"STREAM.MSG.DELETE."+s.name, data)
	if err != nil {
		return err
	}
	var answer deletionAnswer
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return err
	}
	if e := answer.Error; e != nil && !isGone(e) {
		return e
	}
	return nil
}

// isGone reports whether JetStream says that there is no such message, which the
// file store says in other ways than the memory store: as a failure, in words.
func isGone(e *jetstream.APIError) bool {
	switch e.ErrorCode {
	case codeNotFound, jetstream.JSErrCodeMessageNotFound:
		return true
	case codeDeleteFailed:
		return e.Description == server.ErrStoreMsgNotFound.Error() || e.Description == server.ErrStoreEOF.Error()
	default:
		return false
	}
}

// deletes is a queue of sequences. Its goroutines live only while there is work.
type deletes struct {
	do     func(ctx context.Context, seq uint64) error
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu      sync.Mutex
	waiting []uint64
	active  int
	closed  bool
}

func newDeletes(do func(context.Context, uint64) error, log *slog.Logger) *deletes {
	ctx, cancel := context.WithCancel(context.Background())
	return &deletes{do: do, log: log, ctx: ctx, cancel: cancel}
}

func (d *deletes) add(seq uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	d.waiting = append(d.waiting, seq)
	if d.active < deleters {
		d.active++
		d.group.Go(d.work)
	}
}

func (d *deletes) work() {
	for {
		seq, ok := d.next()
		if !ok {
			return
		}
		d.delete(seq)
	}
}

func (d *deletes) next() (uint64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.waiting) == 0 {
		d.active--
		return 0, false
	}
	seq := d.waiting[0]
	d.waiting = d.waiting[1:]
	return seq, true
}

func (d *deletes) delete(seq uint64) {
	for wait := deletePause; ; wait = min(2*wait, deleteTry) {
		err := d.do(d.ctx, seq)
		if err == nil {
			return
		}
		if !pause(d.ctx, wait) {
			d.log.Warn("an entry could not be deleted before the end", slog.Uint64("seq", seq), slog.Any("error", err))
			return
		}
	}
}

// close takes no more, and waits for what is left until the deadline.
func (d *deletes) close(deadline time.Time) {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	timer := time.AfterFunc(time.Until(deadline), d.cancel)
	d.group.Wait()
	timer.Stop()
	d.cancel()
}
