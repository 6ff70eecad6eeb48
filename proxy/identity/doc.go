// Package identity says who is calling.
//
// # The order of proofs
//
//  1. A signed header of a configured issuer (Open WebUI's X-OpenWebUI-User-Jwt) is
//     verified and believed by its signature; a bad one is 401. Where a key file is
//     configured the bearer beside it has to be a valid key; otherwise it is ignored.
//  2. The bearer, or x-api-key: a key of ours, else a token of an issuer whose header
//     is Authorization, else a session or an API key of Open WebUI. An issuer alone
//     judges the tokens that say they are its own; one without an iss judges all.
//     What is none of these is 401: a credential that fails is never passed over for
//     the next proof, nor for being anonymous.
//  3. Nothing: the address, if anonymous callers are allowed. An IPv6 caller is its
//     /64, for that is what one household or host is given (RFC 6177).
//
// A key marked as a forwarder is no person. It is believed about who sits behind
// it: the forwarded headers name the person, groups, task, message and chat. A
// verified client certificate is worth a forwarder's key. From anybody else these
// headers are not read. One that is believed and stands there twice is an error. A
// forwarder's traffic that names nobody is the flow
// key:<id> and [Identity.Nobody]: many people, never limited as one.
//
// In open mode, with neither a key file nor an issuer nor an Open WebUI to ask,
// nothing can be verified: a
// bearer is ignored, and the forwarded headers are taken on trust. Who names nobody
// is known by address and anonymous, also with an identity's header that is empty or
// a placeholder, for traffic that is nobody's has no limits.
//
// # One person
//
// With LinkBy email, a person with a known email is user:<email in lower case>,
// whichever way they come, and otherwise user:<id>. An email is known if the
// issuer verified it, a forwarder sent it, or the key file has it. From an issuer
// that has an email_claim configured it counts unless email_verified is false;
// without, the claim `email` counts only if email_verified is true (OpenID Connect
// Core 5.1). An id of a token that looks like an email, and is not the very one that
// is known, may be somebody else's: it is kept apart as <issuer>/<id>, also where
// rules ask for users. An issuer that puts emails there has it as email_claim, too,
// as in `user_claim: sub, email_claim: sub`. With LinkBy none every way has its own
// persons: user:<way>/<id>, the way being the issuer's name, `key` or `forwarded`.
//
// # Secrets
//
// Keys are kept and looked up by their SHA-256. What the time of a map look-up
// tells is about the digest of what was sent, from which nothing follows about the
// digests that are stored or the keys behind them; the found digest is compared in
// constant time all the same.
//
// Tokens follow RFC 8725: the algorithms are pinned per issuer and either all of
// them symmetric, with a secret, or none, with a JWKS, so that neither `none`
// nor a public key used as a secret gets anywhere; exp is required, and nbf, iss
// and aud are checked. One that was found good is remembered by its SHA-256, with
// what it says, and is not verified again until it expires or the issuer's keys are
// fetched anew: a key that the issuer took back is good for no token, known or not.
//
// # Keys of an issuer
//
// One goroutine per issuer fetches its JWKS (RFC 7517), at once, then every
// quarter of an hour, and when a token names an unknown key. Requests read a
// snapshot and never wait for it, unless their own key is unknown: then they wait,
// five seconds at most, for an attempt that began after they came, and all share it.
// So a key that the issuer shows before it signs with it is known in time, however
// soon after the attempt before. Forged tokens with keys of their own ask as often as
// they like and get four attempts at once, then one in two seconds; that is less
// than a request waits, so they hold up a rotation and cannot make it fail. No key
// is remembered as a bad one: it may be the next good one. If an attempt succeeded,
// an unknown key is a bad token: 401. If it failed, nobody can tell, and the client is
// not sent to log in again for that: 503 with Retry-After. Keys that were fetched
// once stay good while the issuer is away.
//
// # Asking others
//
// LDAP knows groups, and Open WebUI its sessions. What they said is remembered, for
// ten thousand people, and used: while it is fresh (the configured time, a minute
// for a session, seconds for who is not known), then once more while a new answer
// is asked for in the background, and for an hour, or five minutes of a session,
// while there is none. A request waits only for what is not known at all: a second
// for groups, three for a session; and where one has waited in vain the next do not
// for five seconds. The same is asked once, eight things at once, and a server that
// failed is left alone for five seconds. Without an answer people have the groups
// that they came with, but nobody is let in: 503. LDAP adds groups to somebody who
// is known and never says who it is; what a person is called is escaped in the
// filter. Open WebUI is believed by a 200 in JSON with an id and a role that is not
// `pending`, and by nothing else: redirects are not followed. It is asked with the
// caller's own token, at an address for sessions, at another for API keys where the
// first says 403, and for the groups; one that tells of no groups is no fault.
//
// # Failures
//
// A [scheduler.Problem] of code invalid_api_key carries in Reason the label for
// fairlane_auth_failures_total; see the Reason constants. The log has it. The
// caller is told that a credential was refused, and not why.
//
// An address (of IPv6 a /64) that so many credentials have failed from as are
// configured gets 429, whether the next one is right or not: else the answer would
// tell. A key that was in use from there before is no guess, nor is a token that
// verifies, and both go on: behind one address there may be a whole office. The
// addresses that are remembered are bounded.
package identity
