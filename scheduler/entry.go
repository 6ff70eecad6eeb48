package scheduler

import "time"

// Mode says what becomes of a request whose client goes away. All three are
// reserved on the wire; ModeSync is the one that is served today.
type Mode string

// The modes of an entry.
const (
	ModeSync   Mode = "sync"   // the client waits; its prompt stays in the proxy's memory
	ModeAsync  Mode = "async"  // a job that outlives its client
	ModeAttach Mode = "attach" // a call with an idempotency key
)

// Entry is what the queue knows of a request: all that a new dispatcher needs
// to rebuild the queue, and nothing of the prompt. It is immutable once
// published. It travels as the headers of one JetStream message.
type Entry struct {
	// ID is made by the proxy and is the only key. The client's own request id
	// is echoed and logged, never used as a key.
	ID    string
	Proxy string // the proxy that holds the client's connection and the body
	Mode  Mode

	Pool     string
	Model    string // as the backend knows it, aliases resolved
	Endpoint string // chat, completions, responses, messages, embeddings, …
	Path     string // the path at the backend, e.g. /v1/chat/completions
	Stream   bool

	Class      string
	Group      string
	User       string  // user_key: user:<id>, key:<id> or ip:<address>
	UserWeight float64 // weight of the user among the users of its class
	MaxRunning int     // sequences of this user that may run at once; 0: no bound
	MaxQueued  int     // requests of this user that may wait; 0: no bound
	Priority   int     // order among the user's own requests, lower first

	AcceptedAt time.Time
	Deadline   time.Time // waiting ends here

	Sequences   int    // sequences the request becomes at the backend, at least 1
	InputTokens int    // estimate, of all sequences' prompts together
	MaxTokens   int    // output bound of one sequence; 0: the client set none
	PrefixGroup uint64 // hash of tools and system message; 0: none
	Chat        string // conversation id, for locality; may be empty
}

// Usage is what a backend reported of one finished request, in tokens.
type Usage struct {
	Input  int  `json:"input"`            // prompt tokens, the cached ones included
	Cached int  `json:"cached,omitempty"` // prompt tokens found in the prefix cache
	Output int  `json:"output"`           // generated tokens, of all sequences
	Known  bool `json:"known,omitempty"`  // the backend said so; otherwise counted by us
	// CachedKnown tells a reported 0 from no report.
	CachedKnown bool `json:"cached_known,omitempty"`
}
