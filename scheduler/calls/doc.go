// Package calls is the proxy's end of the queue's protocol: the calls whose
// clients are connected here, their bodies, and what comes back for them.
//
// The [Desk] alone fences. A worker that was granted a slot shakes hands before
// it touches the GPU, and the desk answers
//
//	go     if the call is open, no byte of a backend's answer was handed on, and
//	       the attempt is newer than the one before, whose worker is cancelled;
//	stale  if a newer attempt holds the call, or its answer has begun;
//	gone   if the call is unknown or closed: its client is not there any more.
//
// So of any number of attempts, by any number of leaders, at most one answers.
//
// A call belongs to the goroutine that serves its client ([Call.Next]); frames
// and notices only append to its buffer and never block, because slowing the
// backend's reader would free nothing on the GPU. A stream whose client reads
// slower than it comes, by more than MaxBuffer bytes, is cut off. An answer that
// is no stream was generated whole, so it may wait as a whole. What waits over all
// calls is bounded by MaxTotal: whoever holds the most is cut off, not whoever
// sends the byte that is too much.
//
// Nothing hangs: the desk beats to every dispatcher; a call of which nothing was
// heard for three beats is asked after, which also tells where it stands; one that is
// shown its place goes first when many are. Unknown twice, a call is published again
// under a new id (the old one answers gone from then on). So is a call that lost
// the beginning of its answer. While a publish is under way nobody is asked: its
// entry may be on its way. A call whose answer has begun and which hears nothing
// for six beats ends in an error; so does one whose deadline passed if neither a
// dispatcher nor its worker says anything. Beats and questions to one dispatcher
// wait for no other's. A process that stood still heard nothing in that time, and
// counts everybody's silence from when it listens again.
package calls
