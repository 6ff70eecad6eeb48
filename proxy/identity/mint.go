package identity

import (
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Token is what a minted token says. Empty fields are left out.
type Token struct {
	Issuer   string
	Audience string
	Subject  string
	Email    string
	Name     string
	Role     string   // claim `role`, as Open WebUI has it
	Roles    []string // claim `roles`
	Groups   []string // claim `groups`
	Lifetime time.Duration
}

// Mint signs a token with HS256, for tests and demonstrations.
func Mint(secret string, t Token, now time.Time) (string, error) {
	if secret == "" {
		return "", errors.New("the secret is empty")
	}
	if t.Lifetime <= 0 {
		return "", fmt.Errorf("the lifetime %v is not positive", t.Lifetime)
	}
	c := jwt.MapClaims{"iat": now.Unix(), "exp": now.Add(t.Lifetime).Unix()}
	for name, text := range map[string]string{"iss": t.Issuer, "aud": t.Audience, "sub": t.Subject, "email": t.Email, "name": t.Name, "role": t.Role} {
		if text != "" {
			c[name] = text
		}
	}
	for name, list := range map[string][]string{"roles": t.Roles, "groups": t.Groups} {
		if len(list) > 0 {
			c[name] = list
		}
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("mint a token: %w", err)
	}
	return signed, nil
}
