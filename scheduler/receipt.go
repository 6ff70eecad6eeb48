package scheduler

import (
	"context"
	"time"
)

// Receipt says why one request waited and what it came to. Two hands write it: the
// edge, which knows who asked and how it ended, and the leader, which knows the
// queue. CallID joins the halves. It holds no prompt, no answer and no credential,
// but who asked when: it is for operators only.
type Receipt struct {
	CallID string        `json:"call_id,omitempty"` // empty: it never got into the queue
	At     time.Time     `json:"at"`                // when it was accepted, or refused
	Pool   string        `json:"pool,omitempty"`
	Class  string        `json:"class,omitempty"`
	User   string        `json:"user_key,omitempty"`
	Chat   string        `json:"chat,omitempty"`
	Edge   *EdgeReceipt  `json:"edge,omitempty"`
	Queue  *QueueReceipt `json:"queue,omitempty"`
	// Asked is for the recording of arrivals, and is not kept with the receipt; nil:
	// nobody records them.
	Asked *Asked `json:"-"`
}

// Asked is what policy looked at: what it takes to ask again under other rules.
type Asked struct {
	ID            string // the person's, as the way they came gives it
	Roles, Groups []string
	Key           string // id of the API key
	Auth          string // how they came
	IP            string
	Chars         int    // of the text
	Estimate      int    // prompt tokens, before it ran
	Prefix        uint64 // prefix group
	Priority      int
}

// EdgeReceipt is the edge's half of a receipt.
type EdgeReceipt struct {
	RequestID string `json:"request_id"` // the client's, or what it was told
	UserName  string `json:"user_name,omitempty"`
	Email     string `json:"email,omitempty"`
	Model     string `json:"model,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"`
	Task      string `json:"task,omitempty"` // of Open WebUI's in the background
	Size      string `json:"size,omitempty"`
	Stream    bool   `json:"stream,omitempty"`
	Sequences int    `json:"sequences,omitempty"`
	MaxTokens int    `json:"max_tokens,omitempty"` // of one sequence; 0: the client set none

	// What policy said, and which rule, as check-config names it.
	ClassFrom      string  `json:"class_from,omitempty"`
	Weight         float64 `json:"weight,omitempty"` // among the users of the class
	WeightFrom     string  `json:"weight_from,omitempty"`
	MaxRunning     int     `json:"max_running,omitempty"`
	MaxRunningFrom string  `json:"max_running_from,omitempty"`
	MaxWaitMS      float64 `json:"max_wait_ms,omitempty"`

	// How it ended; until then all of it is empty.
	EndedAt    time.Time `json:"ended_at,omitzero"`
	Outcome    Outcome   `json:"outcome,omitempty"`
	Status     int       `json:"status,omitempty"` // 499: the client had left
	Code       Code      `json:"code,omitempty"`
	Reason     Reason    `json:"reason,omitempty"`
	Limit      string    `json:"limit,omitempty"`
	Message    string    `json:"message,omitempty"` // of a refusal of ours; others may quote the client
	RetryAfter float64   `json:"retry_after_s,omitempty"`
	Backend    string    `json:"backend,omitempty"` // host:port
	Attempts   int       `json:"attempts,omitempty"`
	Granted    bool      `json:"granted,omitempty"` // it left the queue; WaitMS says after how long
	WaitMS     float64   `json:"wait_ms,omitempty"`
	TTFTMS     float64   `json:"ttft_ms,omitempty"`
	DurationMS float64   `json:"duration_ms,omitempty"`
	Usage      Usage     `json:"usage,omitzero"`
	Cost       float64   `json:"cost,omitempty"` // in tokens
}

// QueueReceipt is the leader's half of a receipt. Costs are in tokens, weighted as
// the pool's configuration says.
type QueueReceipt struct {
	Arrived  Standing         `json:"arrived,omitzero"`    // how it stood when it came; empty: it began at once
	TookOver bool             `json:"took_over,omitempty"` // a leader before this one saw it come
	Expected Expectation      `json:"expected,omitzero"`
	Blocked  []BlockedTime    `json:"blocked,omitempty"`  // by what, and for how long in all
	Times    []BlockedSpan    `json:"times,omitempty"`    // the longest of those, in order
	Attempts []AttemptReceipt `json:"attempts,omitempty"` // oldest first
	Settled  float64          `json:"settled,omitempty"`  // what it was charged in the end
	Usage    Usage            `json:"usage,omitzero"`     // what that was computed from
	EndedAt  time.Time        `json:"ended_at,omitzero"`
	End      string           `json:"end,omitempty"` // an outcome, or empty while it is not over
	Now      *Standing        `json:"now,omitempty"` // only of what still waits or runs
}

// Standing is how a request stood in the queue at one moment.
type Standing struct {
	Position  int             `json:"position,omitempty"`   // 1 is next; 0: it does not wait
	Own       int             `json:"own,omitempty"`        // of its user, that go first
	OwnCost   float64         `json:"own_cost,omitempty"`   // expected of those
	Other     int             `json:"other,omitempty"`      // of others, that are expected to go first
	OtherCost float64         `json:"other_cost,omitempty"` // expected of those
	ETAMS     float64         `json:"eta_ms,omitempty"`     // expected wait; 0: not known
	Blocked   string          `json:"blocked,omitempty"`    // what the queue waits for
	Classes   []ClassStanding `json:"classes,omitempty"`
}

// ClassStanding is how many of a class waited and ran.
type ClassStanding struct {
	Class   string  `json:"class"`
	Weight  float64 `json:"weight"`
	Waiting int     `json:"waiting"` // requests
	Running int     `json:"running"` // sequences
}

// Expectation is what a request was expected to need, in tokens.
type Expectation struct {
	Input  int `json:"input"`
	Cached int `json:"cached,omitempty"`
	Output int `json:"output"` // of all sequences
}

// BlockedTime is for how long something kept a request from starting.
type BlockedTime struct {
	By string  `json:"by"` // one of the Blocked words
	MS float64 `json:"ms"`
}

// BlockedSpan is one such time.
type BlockedSpan struct {
	By   string    `json:"by"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// What a request may wait for, beside its turn.
const (
	BlockedSlots      = "slots"       // all slots run something
	BlockedKV         = "kv"          // the memory of the model server
	BlockedPrefill    = "prefill"     // prompts that are being read
	BlockedHeadroom   = "headroom"    // slots that are kept for another class
	BlockedMaxRunning = "max_running" // the user runs as much as one may
	BlockedNoBackend  = "no_backend"
)

// AttemptReceipt is one attempt at a request.
type AttemptReceipt struct {
	Backend string    `json:"backend"` // host:port
	At      time.Time `json:"at"`
	EndedAt time.Time `json:"ended_at,omitzero"`
	End     string    `json:"end,omitempty"`      // completed, cancelled, or what went wrong; empty: it runs
	Charged float64   `json:"charged"`            // at dispatch
	FirstMS float64   `json:"first_ms,omitempty"` // from its grant to its first byte of content, as the leader heard
}

// ReceiptQuery is what a leader is asked for: what waits and runs of these.
type ReceiptQuery struct {
	IDs   []string `json:"ids,omitempty"`   // of calls
	Users []string `json:"users,omitempty"` // keys
	Chat  string   `json:"chat,omitempty"`
	All   bool     `json:"all,omitempty"`   // of whomever
	Limit int      `json:"limit,omitempty"` // 0: 100
}

// Explainer is a dispatcher that tells why what it has waits.
type Explainer interface {
	// Explain answers with the leader's half of the receipts of what waits and runs.
	Explain(ctx context.Context, q ReceiptQuery) ([]Receipt, error)
}
