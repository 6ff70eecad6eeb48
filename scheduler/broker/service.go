package broker

import (
	"context"
	"log/slog"
	"sync"

	"github.com/nats-io/nats.go"
)

const (
	answerPatience = askPatience // nobody waits longer for an answer
	laneDepth      = 64          // messages of one sender that may wait
)

// service is what one role serves over NATS, until stop.
type service struct {
	b      *Bus
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	over  bool
	busy  sync.WaitGroup
	subs  []*nats.Subscription
	ends  []func()
	lanes map[string][]func()
}

func newService(b *Bus) *service {
	ctx, cancel := context.WithCancel(context.Background())
	return &service{b: b, ctx: ctx, cancel: cancel, lanes: map[string][]func(){}}
}

// stop returns when nothing is being handled any more.
func (s *service) stop() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	for _, sub := range s.subs {
		_ = sub.Unsubscribe() // it fails where the connection ended, and the subscription with it
	}
	s.cancel()
	s.busy.Wait()
	if len(s.subs) > 0 {
		s.b.settle() // who asks from here on is told at once that nobody is there
	}
	for _, end := range s.ends {
		end()
	}
}

// enter is false when the service is over; otherwise busy.Done is owed.
func (s *service) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.busy.Add(1)
	return true
}

// subscribe handles messages one after the other, in the order in which they
// came; f must not block.
func (s *service) subscribe(subject string, f func(m *nats.Msg)) error {
	sub, err := s.b.nc.Subscribe(subject, func(m *nats.Msg) {
		if !s.enter() {
			return
		}
		defer s.busy.Done()
		f(m)
	})
	if err == nil {
		s.subs = append(s.subs, sub)
	}
	return err
}

// budget bounds what may wait to be handled of the last subject, in bytes alone.
func (s *service) budget(bytes int) error {
	return s.subs[len(s.subs)-1].SetPendingLimits(-1, bytes)
}

// aside runs f, which may block, beside the others. Its context ends when nobody
// waits for the answer any more, or with the service.
func (s *service) aside(f func(ctx context.Context)) {
	if !s.enter() {
		return
	}
	go func() {
		defer s.busy.Done()
		s.patiently(f)
	}()
}

func (s *service) patiently(f func(ctx context.Context)) {
	ctx, cancel := context.WithTimeout(s.ctx, answerPatience)
	defer cancel()
	f(ctx)
}

// inLane is aside, but in order for everything of one sender.
func (s *service) inLane(sender string, f func(ctx context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting, running := s.lanes[sender]
	if s.over || len(waiting) >= laneDepth {
		return // the sender gets no answer and tries again
	}
	s.lanes[sender] = append(waiting, func() { s.patiently(f) })
	if !running {
		s.busy.Go(func() { s.drive(sender) })
	}
}

func (s *service) drive(sender string) {
	for {
		s.mu.Lock()
		waiting := s.lanes[sender]
		if len(waiting) == 0 {
			delete(s.lanes, sender)
			s.mu.Unlock()
			return
		}
		s.lanes[sender] = waiting[1:]
		s.mu.Unlock()
		waiting[0]()
	}
}

// read makes a handler of control messages out of one of what they say.
func read[T any](s *service, f func(m *nats.Msg, v T)) func(*nats.Msg) {
	return func(m *nats.Msg) {
		if isStatus(m) {
			return
		}
		var v T
		if err := unpack(m.Data, &v); err != nil {
			s.malformed(m, err)
			return
		}
		f(m, v)
	}
}

// reply makes a handler that answers, beside the others, with an error or nothing.
func reply[T any](s *service, f func(ctx context.Context, v T) error) func(*nats.Msg) {
	return read(s, func(m *nats.Msg, v T) {
		s.aside(func(ctx context.Context) { s.respond(m, nil, f(ctx, v)) })
	})
}

// malformed tells of bytes that no build of ours has written.
func (s *service) malformed(m *nats.Msg, err error) {
	s.b.log.Warn("dropped a malformed message", slog.String("subject", m.Subject), slog.Int("bytes", len(m.Data)), slog.Any("error", err))
}

// respond answers with an error, or else with out, if there is any.
func (s *service) respond(m *nats.Msg, out any, err error) {
	answer := &nats.Msg{}
	if err == nil && out != nil {
		answer.Data, err = pack(out)
	}
	s.respondMsg(m, answer, err)
}

func (s *service) respondMsg(m, answer *nats.Msg, err error) {
	if err != nil {
		answer = &nats.Msg{Header: nats.Header{headError: {errorName(err)}}}
	}
	if m.Reply == "" {
		return
	}
	if err := m.RespondMsg(answer); err != nil {
		s.b.log.Debug("an answer could not be sent", slog.String("subject", m.Subject), slog.Any("error", err))
	}
}

// isStatus reports whether the server says something, not a peer: that nobody
// takes the frames that we send.
func isStatus(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") != "" }

// atEnd is called when the service is over.
func (s *service) atEnd(f func()) { s.ends = append(s.ends, f) }
