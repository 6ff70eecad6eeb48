package broker

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"fairlane/scheduler"
)

const (
	// packAbove is in bytes. The beat of a worker that runs a thousand requests is
	// nearly a megabyte, the most that NATS takes unless it is told otherwise; the
	// same words all over, it shrinks to a tenth.
	packAbove = 128 << 10
	unpackMax = 64 << 20
)

// headError carries the error of an answer.
const headError = "Fl-Error"

// errorName is an error on the wire.
func errorName(err error) string {
	switch {
	case errors.Is(err, scheduler.ErrBusy):
		return "busy"
	case errors.Is(err, scheduler.ErrNotLeader):
		return "not_leader"
	case errors.Is(err, scheduler.ErrUnknownCall):
		return "unknown_call"
	case errors.Is(err, scheduler.ErrNoResponder):
		return "no_responder"
	default:
		return escape(err.Error())
	}
}

func namedError(name string) error {
	switch name {
	case "busy":
		return scheduler.ErrBusy
	case "not_leader":
		return scheduler.ErrNotLeader
	case "unknown_call":
		return scheduler.ErrUnknownCall
	case "no_responder":
		return scheduler.ErrNoResponder
	default:
		return fmt.Errorf("the other side failed: %.200s", name)
	}
}

// answerError is what an answer says instead of an answer.
func answerError(m *nats.Msg, nobody error) error {
	if name := m.Header.Get(headError); name != "" {
		return namedError(name)
	}
	if isStatus(m) {
		return nobody
	}
	return nil
}

// pack writes a control message: JSON, compressed if it is long.
func pack(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil || len(data) <= packAbove {
		return data, err
	}
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(data); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// unpack reads what pack wrote.
func unpack(data []byte, v any) error {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		return json.Unmarshal(data, v)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	plain, err := io.ReadAll(io.LimitReader(z, unpackMax+1))
	if err != nil {
		return err
	}
	if len(plain) > unpackMax {
		return fmt.Errorf("%w: it unpacks to more than %d bytes", ErrMalformed, unpackMax)
	}
	return json.Unmarshal(plain, v)
}

// ask sends in to a subject and waits for out, which may be nil. nobody is the
// error if nobody is there.
func (b *Bus) ask(ctx context.Context, subject string, in, out any, nobody error) error {
	if !b.outside {
		return nobody
	}
	data, err := pack(in)
	if err != nil {
		return err
	}
	m, err := b.askMsg(ctx, subject, data, nobody)
	if err != nil || out == nil {
		return err
	}
	if err := unpack(m.Data, out); err != nil {
		return fmt.Errorf("the answer on %s can't be read: %w", subject, err)
	}
	return nil
}

func (b *Bus) askMsg(ctx context.Context, subject string, data []byte, nobody error) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	m, err := b.nc.RequestWithContext(ctx, subject, data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, nobody
	case err != nil:
		return nil, fmt.Errorf("ask on %s: %w", subject, err)
	}
	return m, answerError(m, nobody)
}

// asks are requests whose answers nobody stands and waits for. All answers come
// to one subscription.
type asks struct {
	nc    *nats.Conn
	inbox string
	sub   *nats.Subscription

	mu      sync.Mutex
	pending map[string]*pendingAsk
	next    uint64
}

type pendingAsk struct {
	answer func(error)
	timer  *time.Timer
}

func newAsks(nc *nats.Conn) (*asks, error) {
	a := &asks{nc: nc, inbox: nc.NewInbox() + ".", pending: map[string]*pendingAsk{}}
	var err error
	a.sub, err = nc.Subscribe(a.inbox+"*", func(m *nats.Msg) {
		a.settle(strings.TrimPrefix(m.Subject, a.inbox), answerError(m, scheduler.ErrNoResponder))
	})
	return a, err
}

// send publishes a request; answer is called once, with ErrNoResponder if there
// is none within patience.
func (a *asks) send(subject string, data []byte, patience time.Duration, answer func(error)) {
	a.mu.Lock()
	a.next++
	key := strconv.FormatUint(a.next, 36)
	p := &pendingAsk{answer: answer}
	a.pending[key] = p
	p.timer = time.AfterFunc(patience, func() { a.settle(key, scheduler.ErrNoResponder) })
	a.mu.Unlock()
	if err := a.nc.PublishRequest(subject, a.inbox+key, data); err != nil {
		a.settle(key, fmt.Errorf("%w: %w", scheduler.ErrNoResponder, err))
	}
}

func (a *asks) settle(key string, err error) {
	a.mu.Lock()
	p := a.pending[key]
	delete(a.pending, key)
	a.mu.Unlock()
	if p != nil {
		p.timer.Stop()
		p.answer(err)
	}
}

func (a *asks) close() {
	_ = a.sub.Unsubscribe() // it fails where the connection ended already
	a.mu.Lock()
	keys := make([]string, 0, len(a.pending))
	for key := range a.pending {
		keys = append(keys, key)
	}
	a.mu.Unlock()
	for _, key := range keys {
		a.settle(key, scheduler.ErrNoResponder)
	}
}
