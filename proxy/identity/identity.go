package identity

import "net/netip"

// AuthType says how somebody reached us.
type AuthType string

// The ways to be known.
const (
	AuthAPIKey    AuthType = "api_key"   // an API key of ours, or of Open WebUI
	AuthJWT       AuthType = "jwt"       // a token of a configured issuer, or a browser session of Open WebUI
	AuthForwarded AuthType = "forwarded" // headers of a trusted forwarder
	AuthAnonymous AuthType = "anonymous" // by address
)

// Identity is who is calling, as far as it could be verified. It belongs to the
// request; its slices are not to be changed.
type Identity struct {
	// UserKey names the person for queues, buckets and logs: user:<id>,
	// key:<id> or ip:<address>. The same verified email is one UserKey,
	// whichever way the person came.
	UserKey string
	ID      string // the person's id as the way they came gives it; empty: unknown
	Name    string // for people: display name, else email, else id
	Email   string // lower case, verified unless the identity is not; empty if unknown
	Roles   []string
	// Groups are names and ids alike. A forwarder's value that holds commas stands
	// behind its parts as a whole.
	Groups []string
	KeyID  string // of the API key that was used, if any
	Issuer string // name of the issuer whose token was used, if any

	AuthType  AuthType
	Verified  bool // false for open mode's word of mouth and for addresses
	Forwarder bool // came through a trusted forwarder (or, in open mode, says so)
	// Nobody is set for traffic of a forwarder that carried no identity: it is
	// never limited as one person.
	Nobody    bool
	Anonymous bool // known by address only
	// Addr is the client's address, behind trusted proxies the one they name;
	// not valid: unknown. IP is the same for logs, `unknown` if it is.
	Addr netip.Addr
	IP   string

	Task      string // background task of Open WebUI; empty: interactive
	TaskTold  bool   // the forwarder says what the task is, or that it is none
	MessageID string
	ChatID    string
}
