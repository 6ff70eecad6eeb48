package identity

import (
	"context"
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
	flow   flow    // what arrives with its signed header and no forwarder's key
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
	s := &issuer{Issuer: *j, header: http.CanonicalHeaderKey(j.Header), parser: jwt.NewParser(opts...)}
	s.flow.name = j.Name
	if j.JWKSURL != "" {
		s.keys = newKeySet(j, deps)
	}
	return s
}

// verify checks signature, algorithm, exp, nbf, iss and aud.
func (s *issuer) verify(ctx context.Context, token string) (claims, error) {
	c := jwt.MapClaims{}
	_, err := s.parser.ParseWithClaims(token, c, func(t *jwt.Token) (any, error) { return s.keyFor(ctx, t) })
	if err != nil {
		return nil, err
	}
	return claims(c), nil
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

// verify finds the issuer among those of a header, by iss, and lets it verify.
func (i *Identifier) verify(ctx context.Context, header, token string) (*issuer, claims, *scheduler.Problem) {
	iss, ok := issuerOf(token)
	if !ok {
		return nil, nil, refuse(ReasonMalformed)
	}
	reason := ReasonWrongIssuer
	for _, s := range i.issuers {
		if s.header != header || s.Issuer.Issuer != "" && s.Issuer.Issuer != iss {
			continue
		}
		c, err := s.verify(ctx, token)
		switch {
		case err == nil && c.text(s.UserClaim) == "" && s.email(c) == "":
			return nil, nil, refuse(ReasonNoUser)
		case err == nil:
			return s, c, nil
		case errors.Is(err, errNoKeys):
			return nil, nil, unavailable(s.Name)
		}
		reason = reasonOf(err, token, s.Algorithms)
	}
	return nil, nil, refuse(reason)
}

// issuerOf reads the iss of a token that is not verified yet. False: it is no token.
func issuerOf(token string) (string, bool) {
	c := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, c); err != nil {
		return "", false
	}
	return claims(c).text("iss"), true
}

func reasonOf(err error, token string, algorithms []string) Reason {
	switch {
	case errors.Is(err, errUnknownKey):
		return ReasonUnknownSigner
	case errors.Is(err, jwt.ErrTokenMalformed), errors.Is(err, errCritical):
		return ReasonMalformed
	case errors.Is(err, jwt.ErrTokenSignatureInvalid) && !slices.Contains(algorithms, algorithmOf(token)):
		return ReasonAlgorithm
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return ReasonSignature
	case errors.Is(err, jwt.ErrTokenExpired), errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return ReasonExpiredToken
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return ReasonNotYetValid
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return ReasonWrongIssuer
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return ReasonWrongAudience
	default:
		return ReasonMalformed
	}
}

func algorithmOf(token string) string {
	t, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		return ""
	}
	return t.Method.Alg()
}

// looksLikeToken reports whether a bearer has the three parts of a JWS.
func looksLikeToken(s string) bool { return strings.Count(s, ".") == 2 }
