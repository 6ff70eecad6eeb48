package policy

import (
	"slices"
	"time"

	"fairlane/proxy/limit"
)

// Config is the policy section of the configuration with what it refers to.
type Config struct {
	Classes      map[string]Class // by name
	DefaultClass string           // of requests to which no rule gives one
	Rules        []Rule           // top to bottom; New appends the built-in last rule
	Sizes        Sizes
	// MaxQueuedPerUser is how many requests of a user may wait, unless a rule
	// says otherwise; 0: no bound.
	MaxQueuedPerUser int
	// MaxSlots is the largest configured `slots` of each pool, by name. No request
	// may become more sequences; 0 or missing: nothing is configured.
	MaxSlots map[string]int
}

// Class is a share of the GPU.
type Class struct {
	Weight    float64       // 0.01 to 1000
	MaxWait   time.Duration // in the queue
	MaxQueued int           // requests of the class that may wait; 0: no bound
	Headroom  int           // slots that are kept free for it
	CoDel     bool          // shed what has waited too long
}

// Limits is what a `limits` key says.
type Limits struct {
	Text string        // as the admin wrote it
	Set  []limit.Limit // parsed; empty: no limit
}

func (l *Limits) clone() *Limits {
	if l == nil {
		return nil
	}
	return &Limits{Text: l.Text, Set: slices.Clone(l.Set)}
}

// Rule gives what it sets to the requests that match When. A nil field is not set.
type Rule struct {
	Name           string // of its buckets; empty: what When says
	When           When
	Class          *string
	Weight         *float64 // 0.01 to 1000
	Limits         *Limits  // of requests
	Tokens         *Limits  // of tokens
	Sizes          *Sizes   // over the global ones, see Sizes
	MaxRunning     *int     // sequences; 0: no bound
	MaxQueued      *int     // requests; 0: no bound
	MaxSequences   *int     // of one request; at least 1
	MaxWait        *time.Duration
	MaySetPriority *bool
	AllowFields    []string // scheduling fields of the body that pass
	PrefixCache    *string  // shared | own
	Shared         bool     // the limits are one bucket of all who match
	Follow         *Follow  // the limits follow the load
}

// When are conditions that must all hold; of a list any value. A nil field is no
// condition; a list that is empty but not nil is an error, for it could never hold.
type When struct {
	User     []string // the id, or the person's user key without `user:`
	Email    []string
	Key      []string // id of the API key
	Role     []string
	Group    []string // name or id
	Model    []string // as the client or as the backend calls it
	Endpoint []string // chat, completions, embeddings, …
	Task     []string
	AuthType []string // jwt | api_key | forwarded | anonymous
	IP       []string // address or CIDR

	Anonymous *bool
}

// Sizes classify requests by their size. In a rule, a row without conditions has
// those of the global row, and one without limits its limits.
type Sizes struct {
	Light, Medium, Heavy Size
}

// Size is one row of Sizes. A threshold of 0 is no condition; any one suffices.
type Size struct {
	InputCharsOver, MaxTokensOver int // greater than
	InputCharsFrom, MaxTokensFrom int // at least
	Limits                        *Limits
}

func (s Size) conditional() bool {
	return s.InputCharsOver > 0 || s.MaxTokensOver > 0 || s.InputCharsFrom > 0 || s.MaxTokensFrom > 0
}

func (s Size) matches(chars, tokens int) bool {
	return s.InputCharsOver > 0 && chars > s.InputCharsOver ||
		s.InputCharsFrom > 0 && chars >= s.InputCharsFrom ||
		s.MaxTokensOver > 0 && tokens > s.MaxTokensOver ||
		s.MaxTokensFrom > 0 && tokens >= s.MaxTokensFrom
}

// over is s where it says something, and base elsewhere.
func (s Size) over(base Size) Size {
	limits := s.Limits
	if limits == nil {
		limits = base.Limits
	}
	if !s.conditional() {
		s = base
	}
	s.Limits = limits.clone()
	return s
}

func (s Sizes) over(base Sizes) Sizes {
	return Sizes{Light: s.Light.over(base.Light), Medium: s.Medium.over(base.Medium), Heavy: s.Heavy.over(base.Heavy)}
}
