// Package worker takes grants, calls backends and streams the answers back.
//
// An attempt belongs to one goroutine from its grant to the event that ends it:
//
//	grant → handshake with the proxy (go, stale, gone) → call → answer → end
//
// What it owes to whom: frames to the proxy, never blocking; events to the
// pool's dispatcher, repeated until a leader acknowledged them, so an end is
// told even if there is no leader just then. An attempt stays in the heartbeat
// until its end was acknowledged; so a dispatcher that misses it there knows
// that it is over, and not that a message was lost. No lost message looks like a
// death: a report waits for its answer for one beat at most, and a beat to the
// proxy takes no frame's number.
//
// Before the first byte of an answer goes out, a failure is an event and the
// dispatcher decides about another attempt. From then on a failure is a frame
// to the proxy and the end of the call. An answer that is not streamed is read
// whole before any of it is handed on, so that a backend that dies in the middle
// costs another attempt and not a broken answer.
//
// What counts as a backend's death, which its dispatcher holds against the
// request, is a connection that broke with the request on it while the backend's
// health, asked at once, is bad, or an engine that says so itself. No
// connection, a kept one that was closed already, and a 503 are none: the
// request was not taken. An error that the backend answers while it is well, in
// its place or in a stream, is the request's own until others meet it
// ([scheduler.Event] Answered), and so is an answer that goes on for too long.
// What breaks on our side, a worker that stops or a frame that does not leave,
// is lost, not failed: the backend is not to blame.
//
// The answer's bytes pass as they are, but for what [openai.StreamFilter] says.
package worker
