// Package dispatcher decides who is served next in one pool.
//
// Any number of processes run a [Dispatcher] for a pool; one holds the lease
// and leads, the others stand by. A term of leadership is a leader: one
// goroutine that owns the fair queue, the capacity of the backends and all that
// is known of requests, workers and proxies. Everybody else posts to its inbox.
//
// A request belongs to the leader from the moment its entry is read from the
// stream until it is deleted there:
//
//	queued → granted → (first byte) → settled, deleted
//	   ↑________│ a fault before the first byte: back to its old place
//
// A new leader reads the stream, asks all workers what runs and adopts it, and
// only then grants. Its fences are newer than any of its predecessor's, so what
// a predecessor that does not know yet that it was replaced still sends is
// stale everywhere.
//
// Which failures cost an attempt: one that never reached the backend does not,
// nor does vLLM's own 503. A fault before the first byte does; after three the
// client is told. A backend that goes down with a request in flight makes it a
// suspect: it runs once more, alone on its backend, and a second such death ends
// it, so that one poisonous request can't take the servers down one after the
// other.
package dispatcher
