// Package dispatcher decides who is served next in one pool.
//
// Any number of processes run a [Dispatcher] for a pool; one holds the lease
// and leads, the others stand by. A term of leadership is a leader: one
// goroutine that owns the fair queue and the capacity of the backends, which
// [fairlane/scheduler/turn] joins to say who is next and where, and all that
// is known of requests, workers and proxies. Everybody else posts to its inbox.
//
// # Whose a request is
//
// It belongs to the leader from the moment its entry is read from the stream until
// it is deleted there:
//
//	queued → granted → (first byte) → settled, deleted
//	   ↑________│ a fault before the first byte: back to its old place
//
// Three kinds of memory keep it whole whatever order things come in. The end of an
// attempt is known by its fence, so that one that is told twice counts once. The
// id of a request that is over is kept for a minute: its entry may come after its
// cancel, its report again, its proxy may not have heard how it ended. An attempt at
// it that turns out to run still is adopted for the room that it takes, and is the
// last. And a request whose answer runs on an attempt that is not ours (its worker has
// not told us yet, or its backend was removed) is elsewhere: it keeps its place in
// the stream, and neither waits nor is granted, until that attempt is adopted, ends,
// or is silent for a minute.
//
// # The lease
//
// It is looked at before everything that is taken from the inbox, every grant,
// cancel and delete. While it is in doubt the leader does nothing and answers
// nobody; who asks finds the next leader. So a process that was stopped and goes on
// while another one leads does no harm, and its fences are older in any case. A
// leader that stood still for a shorter time, or was cut off, takes nobody's silence
// meanwhile for death.
//
// A new leader reads the stream, asks all workers what runs and adopts it, and only
// then grants, or ends what waited for too long. Until it has read all it says
// nothing of any request: a proxy that hears twice that its call is unknown
// publishes it again. Every 5 s, and when it stops in order, a leader saves what its
// successor would have to learn anew: debts, expected outputs, what the backends
// showed, and what requests went through. Nothing in it is needed.
//
// # Attempts
//
// One that never reached the backend costs nothing, nor does vLLM's own 503. A
// fault before the first byte does; after three the client is told. A backend that
// goes down with a request in flight makes it a suspect: it runs once more, alone on
// its backend, and a second such death ends it, so that one poisonous request can't
// take the servers down one after the other. A backend that fails several in a row
// gets one at a time; an error that it answers ([scheduler.Event] Answered) is
// tried elsewhere too, but not held against it. A client that leaves when the backend
// has its request pays for the whole prompt; before that, nothing.
//
// A worker that takes a grant says so. A beat that does not list an attempt ends
// it only if its worker took it and has taken a later one since: refused grants,
// and those that are still under way, are not over. A request that waits again is
// told to its proxy, with the attempt that is over: one that has its answer, or a newer
// attempt, takes no notice.
//
// # Who is told to come back later
//
//   - Bounds on what waits, of a user and of a class. What can start now is not
//     counted as waiting.
//   - After 30 s in which a head waited for capacity the rate of delivery is known.
//     Who would not start within 0.9 of the time until its deadline is refused at
//     once: because of its own backlog (429) or everybody's (503).
//   - A head that needs more KV or slots at once than become free in twice the time
//     in which 99 of 100 requests are served, and at least 10 s, is refused.
//   - In a class that asks for it ([Class] CoDel) the newest of a user goes first, and
//     what has waited for half of what it may, at least 2 s, is refused (503) while a head
//     waits for capacity: under overload some are served in time, rather than all too
//     late. What waited for a backend to be up is given as long again.
//   - Who waited in vain: 503 if no backend was up all the time, else 504.
//
// # What is told of the load
//
// Every second the leader tells all proxies how loaded the pool is ([turn.Load]), by the
// KV that is held of the budgets of the backends that are up, and by the wait for one's
// turn: how long ago those users who wait came or were served last, on average. A user's
// own backlog is no load, and while no head waits for capacity nobody waits for that
// reason. While no backend is up the level stays.
//
// # The tree
//
// The levels that [Policy] Share names: class and user, with the group between
// them if it is named, or users alone, whose weight is then that of the class times their
// own. Tiers put sets of classes before all others. A policy that changes either moves
// all that waits and runs to a new tree; weights count from the next dispatch.
//
// A class's weight is shared by those of its members who have work. Where one of them is
// entitled to less than a member of a lighter class for half a minute, that is logged and
// listed once, until the policy changes or five minutes have passed without it.
//
// Headroom keeps slots free for a class; less than half of what there is, so that a
// backend that is filled anew is not kept empty.
package dispatcher
