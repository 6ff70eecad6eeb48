package scheduler

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// ProtocolVersion is carried by every entry. Version N and N+1 work together.
const ProtocolVersion = 1

// Errors of the way between the roles.
var (
	ErrNoResponder = errors.New("nobody answers there")            // the process is gone
	ErrNotLeader   = errors.New("no dispatcher holds the lease")   // try again soon
	ErrUnknownCall = errors.New("the call is unknown or closed")   // its client is gone
	ErrBusy        = errors.New("the worker takes no more grants") // full, or draining
	ErrFull        = errors.New("the queue is full")
)

// Grant gives a worker one slot of a backend for one attempt at a request.
type Grant struct {
	Entry   Entry  `json:"entry"`
	Fence   Fence  `json:"fence"`
	Number  uint64 `json:"number"`  // counts the grants to this worker, from 1
	Try     int    `json:"try"`     // which of the request's attempts it is, 1 for the first
	Backend string `json:"backend"` // the backend's URL as configured
	// EnginePriority is the X-Vllm-Priority to send; negative: send none.
	EnginePriority int `json:"engine_priority"`
	// Charged and Weights are what the fair queue charged and at which weights,
	// root to leaf, so that a new leader can adopt the attempt.
	Charged int64     `json:"charged"`
	Weights []float64 `json:"weights"`
	// Input and Cached are the prompt in tokens as the queue expects it: what is
	// charged if the backend reports none.
	Input  int `json:"input"`
	Cached int `json:"cached,omitempty"`
}

// Verdict is a proxy's answer to a worker that wants to start an attempt. The
// proxy alone fences: it knows whether the client is there and what it has seen.
type Verdict string

// The verdicts.
const (
	Go    Verdict = "go"    // the call is open, this is its newest attempt; the body comes with it
	Stale Verdict = "stale" // a newer attempt holds the call: drop this one, delete nothing
	Gone  Verdict = "gone"  // the call is unknown or closed: nothing goes to the GPU, the entry is deleted
)

// Handshake asks a proxy for the body of a request.
type Handshake struct {
	ID     string `json:"id"`
	Fence  Fence  `json:"fence"`
	Worker string `json:"worker"`
}

// Handover is the answer to a Handshake.
type Handover struct {
	Verdict Verdict
	Header  http.Header // what goes to the backend beside the body, content-type above all
	Body    []byte      // shared, not to be changed
	// AddedUsage tells that the proxy, not the client, asked for the stream's
	// usage: the worker takes that chunk out again.
	AddedUsage bool
}

// FrameType is the kind of a Frame.
type FrameType byte

// The frames of an answer. The values are on the wire.
const (
	FrameHead FrameType = 1 // status and headers of the backend
	FrameData FrameType = 2 // bytes of the answer
	FrameEnd  FrameType = 3 // the answer is complete
	FrameErr  FrameType = 4 // the answer broke off after its first byte
	FrameBeat FrameType = 5 // nothing new, the attempt is alive
)

// Frame is a piece of an answer on its way from worker to proxy. Seq counts
// the frames of an attempt from 0; a gap means that one was lost. A beat has the
// number of the frame that follows it: to lose a beat is no loss.
type Frame struct {
	ID     string
	Fence  Fence
	Seq    uint32
	Type   FrameType
	Worker string // where a cancel for this attempt goes

	Data    []byte   // FrameData; owned by the receiver
	Head    *Head    // FrameHead
	End     *End     // FrameEnd
	Problem *Problem // FrameErr
}

// Head begins an answer.
type Head struct {
	Status  int         `json:"status"`
	Header  http.Header `json:"header"`
	Backend string      `json:"backend"` // host:port
	Attempt int         `json:"attempt"` // 1 for the first
}

// End ends an answer.
type End struct {
	Usage   Usage   `json:"usage"`
	Outcome Outcome `json:"outcome"` // completed, invalid (the backend's 4xx) or failed (its own error, passed on)
	Cost    float64 `json:"cost"`    // in tokens, what the fair queue charged
}

// EventKind is what a worker tells a dispatcher about an attempt.
type EventKind string

// The events of an attempt. Every attempt ends in exactly one of EventEnd to
// EventStale.
const (
	EventFirstByte EventKind = "first_byte" // of the answer's content
	EventProgress  EventKind = "progress"

	EventEnd       EventKind = "end"       // the backend answered to the end, or broke off after the first byte: settle and delete
	EventCancelled EventKind = "cancelled" // the client left: settle what was done and delete
	EventFault     EventKind = "fault"     // the backend failed before the first byte: another attempt
	EventBusy      EventKind = "busy"      // vLLM's own 503: back to the old place
	EventGone      EventKind = "gone"      // the proxy said gone: delete
	EventStale     EventKind = "stale"     // the proxy said stale: forget this attempt
	EventNoProxy   EventKind = "no_proxy"  // the proxy did not answer the handshake: another attempt
)

// Ends reports whether the attempt is over with this event.
func (k EventKind) Ends() bool { return k != EventFirstByte && k != EventProgress }

// Event is one thing that happened to an attempt.
type Event struct {
	ID      string    `json:"id"`
	Fence   Fence     `json:"fence"`
	Kind    EventKind `json:"kind"`
	Backend string    `json:"backend,omitempty"`
	// Sent tells that the backend had the request, so its prompt is to be charged.
	Sent      bool          `json:"sent,omitempty"`
	Generated int           `json:"generated,omitempty"` // tokens so far, of all sequences
	Usage     Usage         `json:"usage,omitzero"`
	Outcome   Outcome       `json:"outcome,omitempty"`
	TTFT      time.Duration `json:"ttft,omitempty"` // sent → first byte of content
	// Died tells that the backend went down while it had the request.
	Died    bool `json:"died,omitempty"`
	Refused bool `json:"refused,omitempty"` // the backend could not be reached at all
	// Answered tells that the backend answered with an error of its own: it is
	// alive, and the request or its model may be at fault.
	Answered bool     `json:"answered,omitempty"`
	Final    bool     `json:"final,omitempty"`   // another attempt would fare no better
	Problem  *Problem `json:"problem,omitempty"` // what to tell the client if there is no further attempt
}

// Running is one attempt in a worker's heartbeat, enough to adopt it.
type Running struct {
	Grant     Grant `json:"grant"`
	Sent      bool  `json:"sent,omitempty"`
	Generated int   `json:"generated,omitempty"`
	FirstByte bool  `json:"first_byte,omitempty"`
}

// BackendStatus is what a worker last saw of a backend.
type BackendStatus struct {
	URL    string  `json:"url"`
	Up     bool    `json:"up"`
	Detail string  `json:"detail,omitempty"` // why it is not up
	Models []Model `json:"models,omitempty"`
	Scrape *Scrape `json:"scrape,omitempty"` // its /metrics; nil: it has none
}

// Model is one that a backend serves.
type Model struct {
	ID          string `json:"id"`
	MaxModelLen int    `json:"max_model_len,omitempty"`
	OwnedBy     string `json:"owned_by,omitempty"`
	Created     int64  `json:"created,omitempty"`
}

// Scrape is what a backend's /metrics said. Counters only ever grow, except at
// a restart.
type Scrape struct {
	At          time.Time `json:"at"`
	Running     int       `json:"running"`
	Waiting     int       `json:"waiting"`
	KVUsage     float64   `json:"kv_usage"` // 0 to 1
	Preemptions float64   `json:"preemptions"`
	KVTokens    int       `json:"kv_tokens"`  // size of the KV cache in tokens; 0: unknown
	BlockSize   int       `json:"block_size"` // tokens of a KV block; 0: unknown
	PrefixCache bool      `json:"prefix_cache"`
}

// Report goes from a worker to the dispatcher of a pool: what happened, and at
// every beat all that runs.
type Report struct {
	Worker string  `json:"worker"`
	Pool   string  `json:"pool"`
	Events []Event `json:"events,omitempty"`
	Beat   *Beat   `json:"beat,omitempty"`
}

// Beat is a worker's heartbeat.
type Beat struct {
	Started   time.Time       `json:"started"`    // of the worker: a restart is a new worker
	LastGrant uint64          `json:"last_grant"` // number of the last grant it took
	Draining  bool            `json:"draining,omitempty"`
	Running   []Running       `json:"running,omitempty"`
	Backends  []BackendStatus `json:"backends,omitempty"`
	Leaving   bool            `json:"leaving,omitempty"` // the last beat: it stops now
}

// NoticeKind is what a dispatcher tells a proxy about a waiting call.
type NoticeKind string

// The notices.
const (
	NoticeQueued  NoticeKind = "queued"  // its position and expected wait
	NoticeGranted NoticeKind = "granted" // it left the queue
	NoticeEnded   NoticeKind = "ended"   // it ends here, see Problem
	NoticeLoad    NoticeKind = "load"    // of no call: how loaded the pool is, every second
)

// MostLoad is the level of a pool that has long been loaded; -MostLoad is that of one
// that has long been idle, and 0 is between, where limits are as written.
const MostLoad = 10

// Notice is the way back from the dispatcher to the proxy.
type Notice struct {
	ID       string        `json:"id"`
	Kind     NoticeKind    `json:"kind"`
	Position int           `json:"position,omitempty"` // 1 is next
	ETA      time.Duration `json:"eta,omitempty"`      // 0: not known
	// NoBackend tells of a queued one that no backend is up.
	NoBackend bool `json:"no_backend,omitempty"`
	// Ended is, of a queued one, its newest attempt that is over: who took the request
	// for granted because of it takes it for queued again.
	Ended   Fence    `json:"ended,omitzero"`
	Problem *Problem `json:"problem,omitempty"`
	// Backend (host:port) and Attempts are what a request that ended went through:
	// where its last attempt was, and how many there were.
	Backend  string `json:"backend,omitempty"`
	Attempts int    `json:"attempts,omitempty"`
	// Pool and Load are what a NoticeLoad says: the level, -MostLoad to MostLoad.
	Pool string `json:"pool,omitempty"`
	Load int    `json:"load,omitempty"`
}

// Worker is what the other roles may ask of a worker.
type Worker interface {
	// Grant hands over a slot without blocking; answer is called once, with nil,
	// ErrBusy or ErrNoResponder. Grants reach a worker in the order of the calls.
	Grant(g *Grant, answer func(error))
	// Cancel ends the attempt; it is nil also if the attempt is unknown.
	Cancel(ctx context.Context, id string, f Fence) error
	// Muster asks for a beat to the pool's dispatcher at once.
	Muster(ctx context.Context, pool string) error
}

// Proxy is what the other roles may ask of a proxy.
type Proxy interface {
	Handshake(ctx context.Context, h Handshake) (*Handover, error)
	// Frame never blocks.
	Frame(f *Frame) error
	// Notify never blocks.
	Notify(ns []Notice) error
	Ping(ctx context.Context) error
}

// Dispatcher is what the other roles may ask of the dispatcher that leads a pool.
type Dispatcher interface {
	Report(ctx context.Context, r *Report) error
	// Cancel removes a waiting request; an unknown id is kept as a tombstone,
	// for the cancel may overtake the entry.
	Cancel(ctx context.Context, id string) error
	// ProxyBeat says that the proxy is alive; leaving: that it stops now.
	ProxyBeat(ctx context.Context, proxy string, leaving bool) error
	// Where answers with a notice for each id it knows; for a running one,
	// NoticeGranted.
	Where(ctx context.Context, ids []string) ([]Notice, error)
}
