// Package memnet is a network of one server without sockets, so that what waits for a
// backend can be tested in a bubble of fake time.
package memnet

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
)

// Net is the network, and the listener of its server.
type Net struct {
	mu    sync.Mutex
	gone  chan struct{} // closed when nobody listens any more
	queue chan net.Conn
	ends  []net.Conn // the server's
	dials atomic.Int32
}

var _ net.Listener = (*Net)(nil)

// New makes one whose server does not accept yet.
func New() *Net { return &Net{gone: make(chan struct{}), queue: make(chan net.Conn)} }

// Dial connects to the server, whatever the address.
func (n *Net) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	refused := errors.New("connection refused")
	select {
	case <-n.gone:
		return nil, refused
	default:
	}
	near, far := net.Pipe()
	select {
	case n.queue <- far:
		n.dials.Add(1)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.ends = append(n.ends, far)
		return near, nil
	case <-n.gone:
		return nil, refused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Dials is how many connections there were.
func (n *Net) Dials() int { return int(n.dials.Load()) }

// Accept implements net.Listener.
func (n *Net) Accept() (net.Conn, error) {
	select {
	case c := <-n.queue:
		return c, nil
	case <-n.gone:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *Net) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.gone:
	default:
		close(n.gone)
	}
	return nil
}

// Addr implements net.Listener.
func (n *Net) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// Die is the end of the server's process: no listener, no connection.
func (n *Net) Die() {
	_ = n.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.ends {
		_ = c.Close()
	}
	n.ends = nil
}
