package scheduler

// Outcome is how a request ended. Every request ends in exactly one; it is the
// metric label, the log field and the trace status.
type Outcome string

// The outcomes.
const (
	Completed Outcome = "completed"
	Cancelled Outcome = "cancelled" // the client left
	Refused   Outcome = "refused"   // a limit or a bound, see Reason
	Expired   Outcome = "expired"   // its deadline passed in the queue
	Invalid   Outcome = "invalid"   // a 4xx of ours or of the backend
	Failed    Outcome = "failed"    // a 5xx or a broken stream
	Lost      Outcome = "lost"      // its worker or proxy died after the first byte
)

// Reason says which bound refused a request.
type Reason string

// The reasons of a refusal.
const (
	ReasonRequests     Reason = "requests"    // requests per time
	ReasonTokens       Reason = "tokens"      // tokens per time
	ReasonSize         Reason = "size"        // the limit of a size
	ReasonUserQueue    Reason = "user_queue"  // max_queued of the user
	ReasonClassQueue   Reason = "class_queue" // max_queued of the class
	ReasonPoolQueue    Reason = "pool_queue"  // the pool's stream is full
	ReasonOwnBacklog   Reason = "own_backlog" // its own backlog makes the deadline unreachable
	ReasonDeadline     Reason = "deadline"    // the system's backlog does
	ReasonShed         Reason = "shed"
	ReasonHold         Reason = "hold"   // at the head of the queue for too long without fitting
	ReasonMemory       Reason = "memory" // bytes that wait
	ReasonNoBackend    Reason = "no_backend"
	ReasonStore        Reason = "store" // JetStream does not answer
	ReasonShuttingDown Reason = "shutting_down"
)

// DurationBuckets are the buckets of every histogram of durations: 5 ms to
// 1,200 s, doubling, in seconds.
func DurationBuckets() []float64 {
	const first, last = 0.005, 1200
	var out []float64
	for b := first; b < last; b *= 2 {
		out = append(out, b)
	}
	return append(out, last)
}
