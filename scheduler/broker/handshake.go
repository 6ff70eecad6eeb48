package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"

	"fairlane/scheduler"
)

const (
	inlineBody   = 512 << 10 // bytes of a body that come with the answer
	bodyPart     = 256 << 10
	bodyWindow   = 4 // parts under way at once
	bodyMax      = 1 << 30
	bodyKept     = 10 * time.Second // after its last part was asked for
	headHandover = "Fl-Handover"
)

var errNoBody = errors.New("the body is not kept any more")

// handed is a scheduler.Handover in the header of an answer; the body, if it is
// not too long, is the answer's data.
type handed struct {
	Verdict    scheduler.Verdict `json:"verdict"`
	Header     http.Header       `json:"header,omitempty"`
	AddedUsage bool              `json:"added_usage,omitempty"`
	Body       string            `json:"body,omitempty"` // the token under which its parts are
	Size       int               `json:"size,omitempty"` // of the body in parts
}

// shake asks a proxy elsewhere, and fetches the body.
func (b *Bus) shake(ctx context.Context, proxy string, h scheduler.Handshake) (*scheduler.Handover, error) {
	data, err := pack(h)
	if err != nil {
		return nil, err
	}
	at := roleProxy + proxy + "."
	m, err := b.askMsg(ctx, at+verbShake+"."+h.ID, data, scheduler.ErrNoResponder)
	if err != nil {
		return nil, err
	}
	var a handed
	if err := json.Unmarshal([]byte(m.Header.Get(headHandover)), &a); err != nil {
		return nil, fmt.Errorf("the answer of proxy %s can't be read: %w", proxy, err)
	}
	out := &scheduler.Handover{Verdict: a.Verdict, Header: a.Header, AddedUsage: a.AddedUsage, Body: m.Data}
	if a.Body != "" {
		out.Body, err = b.fetch(ctx, at+verbBody+"."+a.Body, a.Size)
	}
	if err != nil {
		return nil, fmt.Errorf("fetch the body from proxy %s: %w", proxy, err)
	}
	return out, nil
}

// fetch puts a body together. A part that got lost fails all of it: another
// attempt is cheaper than to find out what happened.
func (b *Bus) fetch(ctx context.Context, subject string, size int) ([]byte, error) {
	if size <= 0 || size > bodyMax {
		return nil, fmt.Errorf("its size is %d", size)
	}
	body := make([]byte, size)
	group, parts := errgroup.WithContext(ctx) // parts ends with the first failure, and with Wait
	group.SetLimit(bodyWindow)
	for at := 0; at < size && parts.Err() == nil; at += bodyPart {
		group.Go(func() error {
			m, err := b.askMsg(parts, subject, []byte(strconv.Itoa(at)), scheduler.ErrNoResponder)
			if err != nil {
				return err
			}
			if want := min(bodyPart, size-at); len(m.Data) != want {
				return fmt.Errorf("%d bytes came for %d", len(m.Data), want)
			}
			copy(body[at:], m.Data)
			return nil
		})
	}
	err := group.Wait()
	if err == nil {
		err = ctx.Err()
	}
	return body, err
}

func answerShake(s *service, bodies *bodies, m *nats.Msg, over *scheduler.Handover, err error) {
	if err != nil {
		s.respondMsg(m, nil, err)
		return
	}
	a := handed{Verdict: over.Verdict, Header: over.Header, AddedUsage: over.AddedUsage}
	answer := &nats.Msg{Data: over.Body}
	if len(over.Body) > inlineBody {
		a.Body, a.Size, answer.Data = bodies.keep(over.Body), len(over.Body), nil
	}
	head, err := json.Marshal(a)
	answer.Header = nats.Header{headHandover: {string(head)}}
	s.respondMsg(m, answer, err)
}

// bodies are those whose parts are being fetched. They share the memory of the
// calls that they are of.
type bodies struct {
	mu   sync.Mutex
	kept map[string]*keptBody
}

type keptBody struct {
	data  []byte
	left  int // parts
	timer *time.Timer
}

func newBodies() *bodies { return &bodies{kept: map[string]*keptBody{}} }

func (b *bodies) keep(data []byte) string {
	token := nuid.Next()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kept[token] = &keptBody{
		data: data, left: (len(data) + bodyPart - 1) / bodyPart,
		timer: time.AfterFunc(bodyKept, func() { b.drop(token) }),
	}
	return token
}

func (b *bodies) drop(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.kept[token]; k != nil {
		k.timer.Stop()
		delete(b.kept, token)
	}
}

// part is what stands at an offset. Who has had as many parts as there are needs
// no more.
func (b *bodies) part(token string, at int) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.kept[token]
	if k == nil {
		return nil, errNoBody
	}
	if at < 0 || at >= len(k.data) {
		return nil, fmt.Errorf("%w: nothing stands at %d", ErrMalformed, at)
	}
	k.timer.Reset(bodyKept)
	if k.left--; k.left == 0 {
		k.timer.Stop()
		delete(b.kept, token)
	}
	return k.data[at:min(at+bodyPart, len(k.data))], nil
}

func (b *bodies) answer(s *service, m *nats.Msg) {
	at, err := strconv.Atoi(string(m.Data))
	if err != nil {
		s.malformed(m, err)
		return
	}
	data, err := b.part(lastToken(m.Subject), at)
	s.respondMsg(m, &nats.Msg{Data: data}, err)
}

func (b *bodies) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for token, k := range b.kept {
		k.timer.Stop()
		delete(b.kept, token)
	}
}
