package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
	"fairlane/proxy/refusals"
	"fairlane/scheduler"
)

// Identifier says who is calling.
type Identifier interface {
	Identify(r *http.Request) (*identity.Identity, *scheduler.Problem)
}

// Decider says what a request gets.
type Decider interface {
	Decide(id *identity.Identity, q *policy.Query) (*policy.Decision, *scheduler.Problem)
}

// Limiter keeps the buckets of callers.
type Limiter interface {
	// Take takes what the request needs from all of the decision's buckets, or
	// nothing and says which one was too empty. The allowance is there in both
	// cases, as far as it is known.
	Take(ctx context.Context, d *policy.Decision, need Need) (Allowance, *scheduler.Problem)
}

// Need is what a request takes from buckets.
type Need struct {
	InputTokens int  // estimate
	MaxTokens   int  // output of all sequences that is reserved
	Longest     int  // tokens of the longest request that the model takes; 0: not known
	Sequences   int  // as so many requests it counts
	Chinese     bool // how a refusal is worded; else it is in English
}

func (n Need) drawn() policy.Need {
	return policy.Need{InputTokens: n.InputTokens, OutputTokens: n.MaxTokens, Longest: n.Longest, Sequences: n.Sequences}
}

// Allowance is what is left in the tightest buckets, and the way to settle.
type Allowance struct {
	Requests, Tokens *Level // nil: no such limit
	// Settle corrects the tokens that were reserved; nil: none were. It is called
	// once, with what the request used; nil: that is not known.
	Settle func(u *scheduler.Usage)
}

// Level is a bucket's, as the x-ratelimit-* headers tell it.
type Level struct {
	Limit, Remaining int64
	Reset            time.Duration // until it is full
}

// Queue takes requests in. An error is a [*scheduler.Problem], or the context's.
type Queue interface {
	Submit(ctx context.Context, s *scheduler.Submission) (scheduler.Call, error)
}

// Passer calls a backend of a pool without the queue, for what needs no GPU. A
// response's id lives on one backend, so it tries all of them for that.
type Passer interface {
	Pass(ctx context.Context, pool string, p *Passage) (*http.Response, error)
}

// Passage is a call that needs no queue.
type Passage struct {
	Method string
	Path   string // with the query
	Header http.Header
	Body   []byte
}

// Refusals counts who is refused by limits and bounds of their own. It must not block.
type Refusals interface {
	Add(r *refusals.Refused)
}

// Deps are what the edge works with.
type Deps struct {
	Identifier Identifier
	Decider    Decider
	Limiter    Limiter
	Queue      Queue
	Passer     Passer
	Lister     func(pool string) scheduler.Lister // whoever leads the pool
	Receipts   Receipts                           // nil: nobody keeps them
	Refusals   Refusals                           // nil: nobody counts them
	Catalog    func() *Catalog                    // the models of now; cheap, and never nil
	Ready      func() error                       // nil or: why not
	// CacheKey is what the salts of own prefix caches are made with: the same in all
	// replicas, or a person has a cache in each. None: a random one.
	CacheKey []byte
	Metrics  prometheus.Registerer
	Logger   *slog.Logger
}
