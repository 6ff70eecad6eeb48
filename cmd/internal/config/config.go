package config

import (
	"log/slog"
	"time"

	"fairlane/proxy"
	"fairlane/proxy/admin"
	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
	"fairlane/scheduler/broker"
	"fairlane/scheduler/turn"
)

// Config is a configuration with everything resolved and all defaults filled in.
type Config struct {
	Listen  string
	TLS     TLSFiles
	DataDir string       // relative to where the process runs
	Edge    proxy.Config // without TLS: whoever serves reads the files
	Admin   AdminConfig
	NATS    NATSConfig
	Redis   RedisConfig

	Pools    []Pool
	Share    []string // levels of the tree
	Policy   policy.Config
	Tiers    []Tier
	Load     turn.Marks      // when a pool counts as loaded or idle
	Identity identity.Config // with the keys of the key file

	// LDAPCAFile names whose certificates the LDAP server may have; empty: the system's.
	LDAPCAFile string

	Alerts  []Alert
	History History
	Log     LogConfig
	Tracing Tracing

	Files    []string // those whose change is worth a reload
	Warnings []string // what is configured and does nothing yet, a line each

	keyFileName string // empty: none
	settings    []setting
}

// TLSFiles are names of files; empty: none. Relative ones belong to the
// directory of the configuration file, and are joined with it here.
type TLSFiles struct{ CertFile, KeyFile, ClientCAFile string }

// AdminConfig is the admin port's.
type AdminConfig struct {
	Listen        string
	Tokens        []admin.Token
	MetricsListen string // empty: metrics are on the admin port only
}

// NATSConfig says where the queue is kept.
type NATSConfig struct {
	URL, CredsFile string // empty URL: a server in this process
	Replicas       int
	Store          broker.Storage
	SyncAlways     bool
	EncryptionKey  string
}

// RedisConfig says where buckets are kept that several processes share.
type RedisConfig struct {
	URL              string // empty: in memory
	CAFile           string // whose certificates rediss:// may have; empty: the system's
	FallbackReplicas int    // processes among which limits are divided while Redis is away
}

// Pool is a set of interchangeable backends with one queue.
type Pool struct {
	Name     string
	Models   []string // empty: learned from the backends
	Aliases  map[string]string
	Backends []Backend // empty: the emulated one

	Adaptive       bool
	TargetITL      time.Duration // 0: off
	PassPriority   bool
	PrefixAffinity bool
	Cost           scheduler.CostWeights
	Timeouts       Timeouts
}

// Backend is one server of a pool.
type Backend struct {
	URL      string // without a slash or /v1 at its end; dns+http://…: every address of that name
	APIKey   string // empty: none
	Slots    int    // 0: learned
	KVTokens int    // 0: from its metrics
}

// Timeouts of a pool's backends; 0: no bound, Connect excepted.
type Timeouts struct{ Connect, FirstByte, Total, Idle time.Duration }

// Tier is a set of classes that go first.
type Tier struct {
	Classes    []string
	FloorBelow float64 // share that the tiers below are left at least
}

// History is how long what happened is kept.
type History struct {
	Receipts, Usage, Audit time.Duration
	RecordArrivals         bool
}

// LogConfig is the log's.
type LogConfig struct {
	Format string // json | text
	Level  slog.Level
}

// Tracing says where spans go.
type Tracing struct {
	OTLPEndpoint string // empty: nowhere
	Sample       float64
}
