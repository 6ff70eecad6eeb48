package identity

import (
	"time"

	"fairlane/scheduler"
)

// Reason is why a credential was not accepted. It is the label of
// fairlane_auth_failures_total, and is in the Reason of the problem.
type Reason = scheduler.Reason

// The reasons of a 401.
const (
	ReasonMissing        Reason = "missing"        // none, and anonymous callers are not served
	ReasonScheme         Reason = "scheme"         // Authorization is no bearer
	ReasonMalformed      Reason = "malformed"      // empty, too long, sent twice, or no token
	ReasonUnknownKey     Reason = "unknown_key"    // neither a key nor a token
	ReasonExpiredKey     Reason = "expired_key"    // an API key past its day
	ReasonExpiredToken   Reason = "expired_token"  // exp is past
	ReasonIncomplete     Reason = "incomplete"     // no exp, or no aud where one is asked for
	ReasonNotYetValid    Reason = "not_yet_valid"  // nbf is still to come
	ReasonAlgorithm      Reason = "algorithm"      // not one of the issuer's
	ReasonSignature      Reason = "signature"      // does not verify
	ReasonUnknownSigner  Reason = "unknown_signer" // the issuer has no such key
	ReasonWrongIssuer    Reason = "wrong_issuer"   // no issuer of that iss is configured
	ReasonWrongAudience  Reason = "wrong_audience" // it is for somebody else
	ReasonNoUser         Reason = "no_user"        // it does not say who
	ReasonNoKeyBeside    Reason = "no_key_beside"  // a signed header without a valid key
	ReasonIssuerKeysDown Reason = "issuer_keys"    // 503: the issuer's keys cannot be fetched
)

func unauthorized(reason Reason, message string) *scheduler.Problem {
	return &scheduler.Problem{Code: scheduler.CodeInvalidAPIKey, Reason: reason, Message: message}
}

// refuse is a 401 with what to do about it.
func refuse(reason Reason) *scheduler.Problem { return unauthorized(reason, advice(reason)) }

// unavailable is for a token that nobody can judge now. The client shall keep it.
func unavailable(issuer string) *scheduler.Problem {
	const wait = 5 * time.Second
	return scheduler.Refusal(scheduler.CodeOverloaded, ReasonIssuerKeysDown, wait,
		"your token cannot be checked now, because the keys of "+issuer+" cannot be fetched: try again in 5 seconds")
}

// advice is what to do about a credential, by what is wrong with it.
func advice(reason Reason) string {
	switch reason {
	case ReasonScheme:
		return "Authorization has to be a bearer: Authorization: Bearer <API key or token>"
	case ReasonMalformed:
		return "the credential is empty, too long, sent twice or no token: send Authorization: Bearer <API key or token> once"
	case ReasonExpiredKey:
		return "this API key has expired: ask your administrator for a new one"
	case ReasonExpiredToken:
		return "the token has expired: log in again and send the new one"
	case ReasonIncomplete:
		return "the token has no exp, or does not say for whom it was made (aud): ask its issuer for one that has both"
	case ReasonNotYetValid:
		return "the token is not valid yet: check the clock of the machine that made it"
	case ReasonAlgorithm:
		return "the token is signed with an algorithm that is not accepted from its issuer"
	case ReasonSignature:
		return "the signature of the token is wrong: check that its issuer and fairlane have the same secret or keys"
	case ReasonUnknownSigner:
		return "the token is signed with a key that its issuer does not have, or no more: log in again"
	case ReasonWrongIssuer:
		return "tokens of this issuer are not accepted here"
	case ReasonWrongAudience:
		return "the token was made for another service: ask its issuer for one for fairlane"
	case ReasonNoUser:
		return "the token does not say whose it is"
	case ReasonNoKeyBeside:
		return "beside the signed identity the connection's own API key is needed: Authorization: Bearer <API key of this connection>"
	default:
		return "this is no API key and no token that is known here: check the key, or ask your administrator for one"
	}
}
