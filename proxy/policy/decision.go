package policy

import (
	"time"

	"fairlane/proxy/limit"
	"fairlane/proxy/openai"
)

// Values of prefix_cache.
const (
	CacheShared = "shared" // one cache for all
	CacheOwn    = "own"    // a cache_salt per user
)

// Names of the sizes.
const (
	SizeLight  = "light"
	SizeMedium = "medium"
	SizeHeavy  = "heavy"
)

// Query is what is asked, as far as rules care.
type Query struct {
	Endpoint openai.Endpoint
	Pool     string
	Model    string // as the backend knows it
	Alias    string // as the client called it, if that differs

	InputChars int // Unicode code points of the text in messages or prompt; a token id is as many as tokens usually have
	MaxTokens  int // of one sequence; 0: the client set none
	// ExpectedTokens is what is expected of this user where MaxTokens is 0.
	ExpectedTokens int
	Sequences      int // that the request becomes at the backend
	// Load is how loaded the pool is, -scheduler.MostLoad to scheduler.MostLoad.
	Load int
	// Passed is set of a call that needs no GPU and goes past the queue.
	Passed bool

	// TaskPrompt is the beginning of the text of the request's only message if it
	// does not stream and that text begins with TaskMark; empty otherwise. 200
	// bytes are enough.
	TaskPrompt string
	// Priority is what the client asked for, lower first.
	Priority int
}

// BucketKind is what a bucket counts.
type BucketKind int

// The kinds of buckets.
const (
	Requests BucketKind = iota + 1
	Tokens
	BySize // requests of one size
)

// Bucket is one that the request draws from.
type Bucket struct {
	Kind   BucketKind
	Scope  string        // kind, size and rule: who else has such a bucket
	Owner  string        // the user key; empty: shared by all who match the rule
	Limits []limit.Limit // in force; never empty; not to be changed
	Text   string        // the same: as the admin wrote them, unless they follow the load
	// Written is what the rule says where the load makes it Factor times that; nil: the
	// limits are as written.
	Written *Limits
	Factor  float64
}

// Key names the bucket in a store. It does not depend on the limits, so that a
// new policy finds the old levels.
func (b *Bucket) Key() string {
	if b.Owner == "" {
		return b.Scope + "|shared"
	}
	return b.Scope + "|" + b.Owner
}

// Decision is what a request gets.
type Decision struct {
	Class       string
	ClassWeight float64
	// EngineRank is the rank of the class by weight, the heaviest 0; classes of
	// one weight have one rank.
	EngineRank int

	UserWeight   float64
	MaxRunning   int // sequences of the user that may run; 0: no bound
	MaxQueued    int // requests of the user that may wait; 0: no bound
	MaxSequences int // of one request
	MaxWait      time.Duration

	// Priority is the order among the user's own requests: what the client asked
	// for if it may, else 0.
	Priority       int
	MaySetPriority bool
	AllowFields    []string // scheduling fields of the body that pass; not to be changed
	OwnCache       bool     // a prefix cache of the user's own

	Size    string // light, medium, heavy; empty: has none
	Task    string // by header or by guess; empty: interactive
	Buckets []Bucket

	policy  *Policy
	nobody  bool
	guessed bool // the task is told by the prompt
	aside   aside
	from    [numKeys]int16 // index of the rule that gave the key
	store   [3]Bucket      // behind Buckets: requests, tokens, size
}
