package admin

import "time"

// Status is what GET /api/v1/status answers.
type Status struct {
	Version   string     `json:"version"`
	Revision  string     `json:"revision"`
	StartedAt time.Time  `json:"started_at"`
	Roles     []string   `json:"roles"`
	Draining  bool       `json:"draining"`
	NATS      NATS       `json:"nats"`
	Pools     []Pool     `json:"pools"`
	Identity  Identity   `json:"identity"`
	Config    ConfigFile `json:"config"`
	OpenCalls int        `json:"open_calls"`
}

// NATS is the store's state.
type NATS struct {
	Embedded bool   `json:"embedded"`
	Up       bool   `json:"up"`
	Detail   string `json:"detail,omitempty"`
}

// ConfigFile is the configuration's state.
type ConfigFile struct {
	Path     string    `json:"path,omitempty"`
	LoadedAt time.Time `json:"loaded_at"`
	Error    string    `json:"error,omitempty"`    // why the newest file was not taken
	Warnings []string  `json:"warnings,omitempty"` // what is configured and does nothing, a line each
}

// Pool is one pool as this process sees it.
type Pool struct {
	Name     string    `json:"name"`
	Leading  bool      `json:"leading"` // this process holds the lease
	Load     float64   `json:"load"`    // as limits follow it: -1 idle, 0 as written, 1 loaded
	Classes  []Class   `json:"classes,omitempty"`
	Backends []Backend `json:"backends"`
	Suspects []Suspect `json:"suspects,omitempty"`
	// Inversions are the classes of which a member is entitled to less than one of a
	// lighter class.
	Inversions []Inversion `json:"inversions,omitempty"`
}

// Inversion is a class that so many share that a member of it is entitled to less
// than one of a lighter class, both with an own weight of 1.
type Inversion struct {
	Heavy        string  `json:"class"`
	Light        string  `json:"lighter_class"`
	HeavyMembers int     `json:"members"` // users with requests that wait or run
	LightMembers int     `json:"lighter_members"`
	HeavyPart    float64 `json:"entitled_share"` // of one member
	LightPart    float64 `json:"lighter_entitled_share"`
}

// Class is the state of a class's queue, from the leader.
type Class struct {
	Name          string  `json:"name"`
	Weight        float64 `json:"weight"`
	Waiting       int     `json:"waiting"`
	Running       int     `json:"running"` // sequences
	OldestSeconds float64 `json:"oldest_seconds"`
	Share         float64 `json:"share"`          // of the cost delivered in the last minute
	Entitled      float64 `json:"entitled_share"` // what its weight entitled it to
}

// Backend is one backend.
type Backend struct {
	URL         string   `json:"url"`
	Up          bool     `json:"up"`
	Detail      string   `json:"detail,omitempty"`
	Models      []string `json:"models,omitempty"`
	Slots       int      `json:"slots,omitempty"`
	Running     int      `json:"running"` // sequences of ours
	KVTokens    int      `json:"kv_tokens,omitempty"`
	KVHeld      int      `json:"kv_held_tokens"`
	KVBudget    int      `json:"kv_budget_tokens,omitempty"`
	Beta        float64  `json:"kv_beta,omitempty"` // part of the KV cache that is budget
	Rho         float64  `json:"kv_rho,omitempty"`  // KV in use over KV counted
	Scraped     bool     `json:"scraped"`           // its /metrics is understood
	PrefixCache bool     `json:"prefix_cache"`
}

// Suspect is a request that was in flight at two deaths of a backend.
type Suspect struct {
	RequestID   string    `json:"request_id"`
	UserKey     string    `json:"user_key"`
	Model       string    `json:"model"`
	InputTokens int       `json:"input_tokens"`
	At          time.Time `json:"at"`
}

// Identity is what arrives of who is calling.
type Identity struct {
	OpenMode bool      `json:"open_mode"` // nothing is verified
	Traffic  []Traffic `json:"traffic,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
}

// Traffic is what has arrived by one way since the start: of how many requests,
// and how many of them had what.
type Traffic struct {
	Forwarder string `json:"forwarder"` // a key's id, an issuer's name, or what there was instead
	Requests  int64  `json:"requests"`
	Identity  int64  `json:"identity"`
	Groups    int64  `json:"groups"`
	Task      int64  `json:"task"`
	Message   int64  `json:"message"`
	Unread    int64  `json:"unread"` // with forwarded headers that were not believed
}

// Finding is a setting that seems to be missing.
type Finding struct {
	Forwarder string `json:"forwarder"`
	Problem   string `json:"problem"`
	Remedy    string `json:"remedy"`
}
