// Package scheduler is fairlane's vocabulary: the words in which its parts speak
// of a request, and what they may ask of each other. It holds no mechanism.
//
// # The house
//
// A request walks through it once, front to back, without turning round:
//
//	client → proxy: identity → policy → limit → calls ─publish→ JetStream
//	                                                               │
//	         dispatcher (turn: fairqueue, capacity) ←────tail──────┘
//	                   │ grant
//	                   ↓
//	                 worker ⇄ handshake with calls: the body, or stale, or gone
//	                   │
//	                   ↓
//	                 vllm → GPU
//	                   │ frames
//	client ← proxy ← calls
//
// The rooms on the way:
//
//   - [fairlane/proxy] is the edge: HTTP in, HTTP out. Its rooms say who is
//     calling (identity), what that means (policy), whether it is too much (limit),
//     and what the bytes mean (openai, a leaf that everybody may import).
//   - [fairlane/scheduler/calls] is the proxy's end of the queue: open calls and
//     their bodies, fencing, what comes back.
//   - [fairlane/scheduler/broker] is everything NATS: the streams, the lease, and
//     the bus on which the roles call each other, in one process directly.
//   - [fairlane/scheduler/dispatcher] decides who is served next. Its arithmetic
//     is pure and lives in turn, which joins fairqueue (who is next) and capacity
//     (what fits) with what was learned, and which the simulator asks too.
//   - [fairlane/scheduler/worker] runs attempts against [fairlane/scheduler/vllm].
//   - [fairlane/scheduler/history] keeps why each request waited, and
//     [fairlane/scheduler/arrivals] who asked when, for a simulator.
//   - [fairlane/scheduler/loop] is how what runs in the background begins and ends.
//   - [fairlane/scheduler/gpumodel] is how long a step of an engine takes; the
//     emulator and the simulator share it.
//
// Imports point one way: cmd → proxy, scheduler/*, loadtest/*; proxy →
// scheduler and its own rooms; fairqueue, capacity and gpumodel import the
// standard library only. The linter holds these walls.
//
// # The life of a request, and who owns it when
//
//  1. The edge reads the body whole, finds out who is calling and what they may,
//     and takes the request's cost from the caller's buckets. Until here a refusal
//     leaves no trace in the queue. Owner: the client's connection.
//  2. [Submission]: calls gives it an id, keeps the body, and publishes its
//     [Entry], headers only, to the pool's stream. The prompt is never written.
//     From here to the end the call is open; the client's connection waits in
//     [Call.Next]. Owner of the body: calls. Owner of the place in the queue: the
//     leader, from the moment it reads the entry.
//  3. The leader puts it into the fair queue. It may tell the proxy the position,
//     refuse it, or let it expire ([Notice]).
//  4. Its turn has come and it fits: the leader charges its flow and sends a
//     [Grant] with a new [Fence] to a worker. Owner of the attempt: the worker.
//  5. The worker shakes hands with the proxy, which alone knows whether the client
//     is still there and what it has seen ([Verdict]); with go comes the body.
//  6. The worker calls the backend and sends [Frame]s to the proxy and [Event]s to
//     the leader. After the first byte of an answer there is no other attempt.
//  7. The answer ends: the edge writes the log line, the leader settles the charge
//     with what the backend counted and deletes the entry. Every request ends
//     exactly once, in one [Outcome].
//
// A client that goes away ends its call at once: waiting, its entry is removed;
// running, its worker is told directly, with or without a leader, and closes the
// backend's connection.
package scheduler
