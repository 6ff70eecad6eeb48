package identity

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

const (
	rest        = 5 * time.Second // of a server that failed: it is not asked, and one that was slow is not waited for
	maxAnswers  = 10_000          // that are remembered; the one that was used longest ago goes first
	maxAsking   = 256             // that are asked for or wait for their turn
	maxAtOnce   = 8               // that are asked for at once
	askTimeout  = 3 * time.Second // of one question, its turn included
	whileAway   = time.Hour       // how long an old answer is good if the server gives no new one
	soonAnother = 30 * time.Second
)

// errLate is what a request gets that could not wait for its answer.
var errLate = errors.New("no answer in time")

// answer is what a server said, and until when that is believed.
type answer[V any] struct {
	value V
	fresh time.Duration // so long it is used as it is
	good  time.Duration // so long it is used while a new one is asked for
}

// memo remembers the answers of a server, so that requests seldom wait for it: an
// answer that is no longer fresh is used once more while a new one is asked for
// in the background. Only for what is not known at all is there a wait, and a
// bounded one. What is asked for is asked once, however many want it.
type memo[V any] struct {
	wait time.Duration   // of a request, at most
	tell func(err error) // called when the server begins to fail, and when it has stopped to
	turn chan struct{}

	life   context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	known   map[string]*list.Element // of *remembered
	order   list.List                // newest use first
	asking  map[string]*question[V]
	away    time.Time // until then nobody asks
	hasty   time.Time // until then nobody waits
	failing error     // of the newest question
}

type remembered[V any] struct {
	key         string
	value       V
	fresh, good time.Time
}

// question is one that is under way. Its result is there when done is closed.
type question[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newMemo[V any](wait time.Duration, tell func(error)) *memo[V] {
	m := &memo[V]{wait: wait, tell: tell, turn: make(chan struct{}, maxAtOnce), known: map[string]*list.Element{}, asking: map[string]*question[V]{}}
	m.life, m.cancel = context.WithCancel(context.Background()) //nolint:gosec // stop calls it
	return m
}

// stop ends the questions that are under way and waits for them.
func (m *memo[V]) stop() {
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.cancel()
	m.done.Wait()
}

// asker puts a question to the server.
type asker[V any] func(ctx context.Context) (answer[V], error)

// errAnswered is in the error of a server that is there, and says what it should
// not: others may be answered all the same.
var errAnswered = errors.New("not the answer that was expected")

// get is the answer of now, or errLate, or why there is none.
func (m *memo[V]) get(ctx context.Context, key string, a asker[V]) (V, error) {
	m.mu.Lock()
	now := time.Now()
	value, fresh, known := m.lookLocked(key, now)
	if fresh {
		m.mu.Unlock()
		return value, nil
	}
	q, err := m.askLocked(key, a, now)
	hasty := now.Before(m.hasty)
	m.mu.Unlock()
	switch {
	case known:
		return value, nil
	case err != nil:
		return value, err
	default:
		return m.await(ctx, q, hasty)
	}
}

// knows reports whether there is an answer, without asking anybody.
func (m *memo[V]) knows(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, _, known := m.lookLocked(key, time.Now())
	return known
}

func (m *memo[V]) lookLocked(key string, now time.Time) (value V, fresh, known bool) {
	e := m.known[key]
	if e == nil {
		return value, false, false
	}
	r, _ := e.Value.(*remembered[V])
	if !now.Before(r.good) {
		m.order.Remove(e)
		delete(m.known, key)
		return value, false, false
	}
	m.order.MoveToFront(e)
	return r.value, now.Before(r.fresh), true
}

// askLocked is the question that is under way, if need be a new one.
func (m *memo[V]) askLocked(key string, a asker[V], now time.Time) (*question[V], error) {
	if q := m.asking[key]; q != nil {
		return q, nil
	}
	switch {
	case now.Before(m.away):
		return nil, m.failing
	case m.stopped || len(m.asking) >= maxAsking:
		return nil, errLate
	}
	q := &question[V]{done: make(chan struct{})}
	m.asking[key] = q
	m.done.Go(func() { m.put(key, q, a) })
	return q, nil
}

// await waits for an answer, unless others have just waited in vain.
func (m *memo[V]) await(ctx context.Context, q *question[V], hasty bool) (none V, err error) {
	if hasty {
		select {
		case <-q.done:
			return q.value, q.err
		default:
			return none, errLate
		}
	}
	timer := time.NewTimer(m.wait)
	defer timer.Stop()
	select {
	case <-q.done:
		return q.value, q.err
	case <-ctx.Done():
	case <-timer.C:
		m.mu.Lock()
		m.hasty = time.Now().Add(rest)
		m.mu.Unlock()
	}
	return none, errLate
}

// put asks, when it is its turn, and remembers the answer.
func (m *memo[V]) put(key string, q *question[V], a asker[V]) {
	ctx, cancel := context.WithTimeout(m.life, askTimeout)
	defer cancel()
	var got answer[V]
	var err error
	select {
	case m.turn <- struct{}{}:
		got, err = a(ctx)
		<-m.turn
	case <-ctx.Done():
		err = errLate
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.asking, key)
	now := time.Now()
	if err == nil {
		q.value = got.value
		m.rememberLocked(&remembered[V]{key: key, value: got.value, fresh: now.Add(got.fresh), good: now.Add(max(got.fresh, got.good))})
	} else if !errors.Is(err, errAnswered) {
		m.away = now.Add(rest)
	}
	if (err == nil) != (m.failing == nil) && m.life.Err() == nil {
		m.tell(err)
	}
	m.failing, q.err = err, err
	close(q.done)
}

func (m *memo[V]) rememberLocked(r *remembered[V]) {
	if e := m.known[r.key]; e != nil {
		e.Value = r
		m.order.MoveToFront(e)
		return
	}
	m.known[r.key] = m.order.PushFront(r)
	if last := m.order.Back(); m.order.Len() > maxAnswers {
		if r, ok := last.Value.(*remembered[V]); ok {
			delete(m.known, r.key)
		}
		m.order.Remove(last)
	}
}

// trouble is why the newest question had no answer; nil: it had one.
func (m *memo[V]) trouble() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failing
}
