package limit

import (
	"context"
	"time"
)

// Store keeps the levels of buckets. It has a clock of its own, and callers may
// share it.
type Store interface {
	// Acquire takes the cost of every charge, or of none: a refusal consumes
	// nothing. The keys of the charges are distinct. An error says that the store
	// could not be asked.
	Acquire(ctx context.Context, charges []Charge) (Result, error)
	// Settle corrects what was acquired: a cost above 0 is taken on top, even from
	// an empty bucket, which is then in debt; one below 0 is given back, never
	// above full.
	Settle(ctx context.Context, corrections []Charge) error
}

// Key names one level.
type Key struct {
	Scope  string // whose rule, and what is counted
	Owner  string // the caller; empty: shared by all in the scope
	Period time.Duration
	Nth    int // among the limits of the bucket that have this period
}

// Charge is a cost and the limit it counts against.
type Charge struct {
	Key   Key
	Limit Limit // as of now: it may change between charges
	Cost  int64 // 0: only look
}

// Result is what came of an acquisition, and what the headers say of it.
type Result struct {
	Granted bool
	// Levels are what is left, one for each charge.
	Levels []Level

	// Of a refusal:
	Refused    int           // the charge that refuses for the longest time
	Never      bool          // it costs more than its bucket ever holds
	RetryAfter time.Duration // from then on it would be granted, if nobody else came
}

// Level is what is in a bucket.
type Level struct {
	Limit     int64         // what it holds at most
	Remaining int64         // 0 in debt, too
	Reset     time.Duration // until it is full
}
