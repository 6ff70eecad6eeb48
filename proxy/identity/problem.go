package identity

import (
	"fmt"
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
	ReasonNotAdmitted    Reason = "not_admitted"   // Open WebUI has not let them in yet
	ReasonIssuerKeysDown Reason = "issuer_keys"    // 503: the issuer's keys cannot be fetched
	ReasonSessionsDown   Reason = "sessions"       // 503: Open WebUI does not say whose the token is
	ReasonTooManyFailed  Reason = "credentials"    // 429: too many credentials of this address failed
)

// Reasons are those of a 401.
func Reasons() []Reason {
	return []Reason{
		ReasonMissing, ReasonScheme, ReasonMalformed, ReasonUnknownKey, ReasonExpiredKey, ReasonExpiredToken, ReasonIncomplete, ReasonNotYetValid, ReasonAlgorithm,
		ReasonSignature, ReasonUnknownSigner, ReasonWrongIssuer, ReasonWrongAudience, ReasonNoUser, ReasonNoKeyBeside, ReasonNotAdmitted,
	}
}

func unauthorized(reason Reason, message string) *scheduler.Problem {
	return &scheduler.Problem{Code: scheduler.CodeInvalidAPIKey, Reason: reason, Message: message}
}

// refuse is a 401. Why a credential was not accepted stands in the log, where the
// administrator finds it by the request's id: who tries credentials out is told
// nothing by which the next one could be better.
func refuse(reason Reason) *scheduler.Problem {
	switch reason {
	case ReasonMissing:
		return unauthorized(reason, "an API key or a token is needed: send Authorization: Bearer <API key or token>, and ask your administrator for one")
	case ReasonScheme:
		return unauthorized(reason, "Authorization has to be a bearer: Authorization: Bearer <API key or token>")
	default:
		return unauthorized(reason, "the API key or token was not accepted: send a valid one once, as Authorization: Bearer <API key or token>, or log in again; "+
			"your administrator finds the reason in the log, by the X-Request-Id of this answer")
	}
}

// unavailable is for a token that nobody can judge now. The client shall keep it.
func unavailable(reason Reason) *scheduler.Problem {
	const wait = 5 * time.Second
	return scheduler.Refusal(scheduler.CodeOverloaded, reason, wait, "your token cannot be checked now, because the service that it comes from does not answer: try again in 5 seconds")
}

// tooMany is for an address that credentials have failed from too often.
func tooMany(wait time.Duration) *scheduler.Problem {
	wait = max(time.Second, (wait + time.Second - 1).Truncate(time.Second))
	return scheduler.Refusal(scheduler.CodeRateLimit, ReasonTooManyFailed, wait, fmt.Sprintf(
		"too many API keys and tokens from your address were not accepted: send a valid one, and the next in %d s", int(wait.Seconds())))
}
