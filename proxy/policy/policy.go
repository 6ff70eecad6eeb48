package policy

import (
	"time"

	"fairlane/proxy/limit"
)

// Config is the policy section with what it refers to.
type Config struct {
	Classes      map[string]Class
	DefaultClass string
	Rules        []Rule // top to bottom; the built-in last rule is appended by New
	Sizes        Sizes
	MaxSlots     int // largest configured slots of a pool; 0: not configured
}

// Class is a share of the GPU.
type Class struct {
	Weight    float64
	MaxWait   time.Duration
	MaxQueued int
	Headroom  int
	CoDel     bool
}

// Rule gives what it sets to the requests that match When. A nil field is not set.
type Rule struct {
	Name           string
	When           When
	Class          *string
	Weight         *float64
	Limits         []limit.Limit // nil: not set; empty and not nil: set to none
	Tokens         []limit.Limit
	Sizes          *Sizes
	MaxRunning     *int
	MaxQueued      *int
	MaxSequences   *int
	MaxWait        *time.Duration
	MaySetPriority *bool
	AllowFields    []string // scheduling fields of the body that pass
	PrefixCache    *string  // shared | isolated
	Shared         bool     // the limits are one bucket of all who match
}

// When are conditions that must all match; of a list any. Empty: no condition.
type When struct {
	User, Email, Key, Role, Group, Model, Endpoint, Task, AuthType, IP []string
	Anonymous                                                          *bool
}

// Sizes classify requests by their size.
type Sizes struct {
	Light, Medium, Heavy Size
}

// Size is one row of Sizes. A threshold of 0 is not a condition.
type Size struct {
	InputCharsOver, MaxTokensOver int // greater than
	InputCharsFrom, MaxTokensFrom int // at least
	Limits                        []limit.Limit
}
