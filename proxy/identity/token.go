package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"fairlane/scheduler"
)

// issuer verifies the tokens of one configured Issuer.
type issuer struct {
	Issuer
	header string // as net/http keeps it
	parser *jwt.Parser
	keys   *keySet // nil: Secret
	good   *goodTokens
	flow   flow // what arrives with its signed header and no forwarder's key
}

func newIssuer(j *Issuer, deps Deps) *issuer {
	opts := []jwt.ParserOption{
		jwt.WithValidMethods(j.Algorithms), jwt.WithExpirationRequired(), jwt.WithLeeway(j.Leeway), jwt.WithJSONNumber(),
	}
	if j.Issuer != "" {
		opts = append(opts, jwt.WithIssuer(j.Issuer))
	}
	if j.Audience != "" {
		opts = append(opts, jwt.WithAudience(j.Audience))
	}
	s := &issuer{Issuer: *j, header: http.CanonicalHeaderKey(j.Header), parser: jwt.NewParser(opts...), good: newGoodTokens()}
	s.flow.name = j.Name
	if j.JWKSURL != "" {
		s.keys = newKeySet(j, deps)
	}
	return s
}

// verify checks signature, algorithm, exp, nbf, iss and aud. What was found good with
// the keys of now is not looked at again until it expires.
func (s *issuer) verify(ctx context.Context, token string) (claims, error) {
	keys, digest := s.keysNow(), sha256.Sum256([]byte(token))
	if c := s.good.get(digest, keys); c != nil {
		return c, nil
	}
	c := jwt.MapClaims{}
	_, err := s.parser.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) { return s.keyFor(ctx, t) })
	if err != nil {
		return nil, err
	}
	if exp, err := c.GetExpirationTime(); err == nil && exp != nil {
		s.good.put(digest, said{claims: claims(c), until: exp.Time, keys: keys})
	}
	return claims(c), nil
}

// keysNow are the keys before a token is verified: if they are replaced meanwhile,
// it counts as verified with these, and is verified once more. Nil: a secret.
func (s *issuer) keysNow() *snapshot {
	if s.keys == nil {
		return nil
	}
	return s.keys.state.Load()
}

var errCritical = errors.New("the token has critical extensions")

// keyFor is called after the algorithm was found to be one of the issuer's.
func (s *issuer) keyFor(ctx context.Context, t *jwt.Token) (any, error) {
	if _, ok := t.Header["crit"]; ok {
		return nil, errCritical // RFC 7515, 4.1.11: not understood, so not accepted
	}
	if s.keys == nil {
		return []byte(s.Secret), nil
	}
	id, _ := t.Header["kid"].(string)
	keys, err := s.keys.find(ctx, id, t.Method.Alg())
	if err != nil {
		return nil, err
	}
	set := jwt.VerificationKeySet{}
	for _, key := range keys {
		set.Keys = append(set.Keys, key)
	}
	return set, nil
}

// verify lets the issuers of a header verify. Where there are several, only those
// of the token's iss; a single one finds out itself, which saves a parse.
func (i *Identifier) verify(ctx context.Context, header, token string) (*issuer, claims, *scheduler.Problem) {
	issuers := i.byHeader[header]
	if len(issuers) > 1 {
		iss, _, ok := peek(token)
		if !ok {
			return nil, nil, refuse(ReasonMalformed)
		}
		issuers = slices.DeleteFunc(slices.Clone(issuers), func(s *issuer) bool { return !s.signs(iss) })
	}
	reason := ReasonWrongIssuer
	for _, s := range issuers {
		c, err := s.verify(ctx, token)
		switch {
		case err == nil && clean(c.text(s.UserClaim), maxID) == "" && s.email(c) == "":
			return nil, nil, refuse(ReasonNoUser)
		case err == nil:
			return s, c, nil
		}
		if reason = s.reasonOf(err, token); reason == ReasonIssuerKeysDown {
			return nil, nil, unavailable(ReasonIssuerKeysDown)
		}
	}
	return nil, nil, refuse(reason)
}

// signs reports whether tokens of iss may be this issuer's.
func (s *issuer) signs(iss string) bool { return s.Issuer.Issuer == "" || s.Issuer.Issuer == iss }

// peek reads iss and alg of a token that is not verified. False: it is no token.
func peek(token string) (iss, algorithm string, ok bool) {
	c := jwt.MapClaims{}
	t, _, err := jwt.NewParser().ParseUnverified(token, c)
	if err != nil {
		return "", "", false
	}
	return claims(c).text("iss"), t.Method.Alg(), true
}

// reasonOf says what is wrong with a token that did not verify. The signature is
// judged before iss, but to be told of a foreign iss helps more.
func (s *issuer) reasonOf(err error, token string) Reason {
	iss, algorithm, ok := peek(token)
	switch {
	case !ok || errors.Is(err, jwt.ErrTokenMalformed) || errors.Is(err, errCritical):
		return ReasonMalformed
	case !s.signs(iss):
		return ReasonWrongIssuer
	case !slices.Contains(s.Algorithms, algorithm):
		return ReasonAlgorithm
	case errors.Is(err, errNoKeys):
		return ReasonIssuerKeysDown
	case errors.Is(err, errUnknownKey):
		return ReasonUnknownSigner
	case errors.Is(err, jwt.ErrTokenExpired):
		return ReasonExpiredToken
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return ReasonNotYetValid
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return ReasonIncomplete
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return ReasonWrongAudience
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return ReasonSignature
	default:
		return ReasonMalformed
	}
}

// looksLikeToken reports whether a bearer has the three parts of a JWS.
func looksLikeToken(s string) bool { return strings.Count(s, ".") == 2 }
