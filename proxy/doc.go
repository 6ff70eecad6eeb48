// Package proxy is the edge: HTTP in, HTTP out, and nothing decided here that
// one of its rooms or the queue can decide.
//
// # The way of a request
//
// Its path is looked up (what is not named does not exist), who is calling is
// asked, the body is read whole within bounds of size, time and memory, looked
// at once, and the model names its pool. Policy says what the caller gets, the
// limiter takes it from the caller's buckets, and the queue gets the request.
// From there on the client's goroutine waits for what happens to the call and
// writes it down.
//
// The inbound body is never handed to a transport: net/http notices that a
// client left only when its body was read to the end, and a transport that still
// reads it while an answer begins breaks that answer off.
//
// # When the status is committed
//
// A stream stays uncommitted while it waits, so that its status can be true,
// until the first heartbeat is due: then it is 200, text/event-stream and a
// comment, and whatever fails later is an error event. Everything else stays
// uncommitted until its answer begins.
//
// # How it ends
//
// Every request ends in exactly one [scheduler.Outcome], written by one function
// ([exchange.end]), whatever path led there: one log line, one count, one
// duration. What was reserved for it is given back in the same place.
package proxy
