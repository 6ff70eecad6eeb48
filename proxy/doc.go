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
// until the first heartbeat or status is due: then it is 200, text/event-stream
// and what was due, and whatever fails later is an error event. Everything else
// stays uncommitted until its answer begins.
//
// # What is told to who waits
//
// The queue says where a call stands when it comes, and every second or two while
// somebody is shown it. That is Open WebUI in a chat that a person looks at (a
// stream from a forwarder, with a message id and no task): it gets status events
// with position and time. It keeps each with the chat, so there are ten at most. The
// first comes when somebody has waited for a second, and after k of them the next one
// not before w^(k/7) seconds, w the longest that it may wait: eight last for the whole
// wait, the ninth lets them vanish before anything else is written, and the tenth at the
// end of the answer, for a page that was not connected before. A number that
// was shown never rises: "it takes a little longer" is said instead. All other streams
// get heartbeat comments, and everybody may ask at GET /v1/queue for what is their own.
//
// X-Request-Timeout, seconds or a duration, bounds the wait for the turn, not the
// answer; it makes the class's max_wait shorter, never longer. Who can't be expected
// to begin in 0.9 of it is refused at once.
//
// # How loaded a pool is
//
// Whoever leads a pool tells every proxy each second, and limits that follow the load go
// by that ([Loads]), so that all proxies have the same ones. When nothing is heard any
// more, the last level holds for ten seconds and then goes back to 0, a tenth a second,
// where limits are as written: they neither jump nor fall away.
//
// # How it ends
//
// Every request ends in exactly one [scheduler.Outcome], written by one function
// ([exchange.end]), whatever path led there: one log line, one count, one
// duration. What was reserved for it is settled in the same place: by what the backend
// counted; else, once it was granted, by its prompt and what was seen of a stream, or
// by what a whole answer had time for and at least what was reserved. Only what never
// left the queue, or came to nothing by a fault of ours, is given back.
package proxy
