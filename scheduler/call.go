package scheduler

import (
	"context"
	"net/http"
	"time"
)

// Submission is a request that was let in: its entry for the queue, and what
// stays in the proxy's memory until a worker fetches it.
type Submission struct {
	Entry  Entry
	Header http.Header // what goes to the backend beside the body
	Body   []byte      // as it goes to the backend; not changed any more
	// AddedUsage tells that we, not the client, asked for the stream's usage.
	AddedUsage bool
	// ShowsPlace tells that the client is shown its place while it waits.
	ShowsPlace bool
}

// CallEventKind is what happened to a call, as the edge sees it.
type CallEventKind int

// The events of a call, in the order in which they can come. Queued and granted
// may alternate while attempts are repeated; end and problem are the last.
const (
	CallQueued  CallEventKind = iota + 1 // Position and ETA are known or changed
	CallGranted                          // it left the queue
	CallHead                             // the backend answers: Head
	CallData                             // a piece of the answer: Data
	CallEnd                              // the answer is complete: End
	CallProblem                          // it ends without one, or broke off: Problem
)

// CallEvent is one step in the life of a call.
type CallEvent struct {
	Kind      CallEventKind
	At        time.Time     // CallGranted: when; zero: now
	Position  int           // CallQueued: 1 is next
	ETA       time.Duration // CallQueued: expected wait from now; 0: not known
	NoBackend bool          // CallQueued: no backend is up
	Head      *Head
	Data      []byte // owned by the receiver
	End       *End
	Problem   *Problem
	// Backend (host:port) and Attempts go with a problem that the dispatcher told:
	// where the last attempt was, and how many there were.
	Backend  string
	Attempts int
}

// Call is an accepted request as its client's connection sees it.
type Call interface {
	// Next waits for the next event. After CallEnd or CallProblem there is none.
	// It fails only with the context's error; the call then has to be cancelled.
	Next(ctx context.Context) (CallEvent, error)
	// Cancel gives the place in the queue, or the slot at the backend, back at
	// once. It does not block and may be called at any time, also twice.
	Cancel()
}
