package main

import (
	"errors"
	"fmt"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/proxy/identity"
)

// signedWith is the variable that holds the secret where the command line should not.
const signedWith = "FAIRLANE_JWT_SECRET"

type tokenCmd struct {
	Secret   string        `help:"Secret to sign with (HS256); better in the environment, as FAIRLANE_JWT_SECRET, where no list of processes shows it."`
	Issuer   string        `help:"Claim iss."`
	Audience string        `help:"Claim aud."`
	Sub      string        `default:"test" help:"Claim sub: who it is."`
	Email    string        `help:"Claim email."`
	Name     string        `help:"Claim name."`
	Role     string        `help:"Claim role, a text, as Open WebUI has it."`
	Roles    []string      `help:"Claim roles, a list."`
	Groups   []string      `help:"Claim groups, a list."`
	Lifetime time.Duration `default:"1h" help:"How long it is valid."`
}

// Run prints the token and nothing else, so that a shell can take it.
func (c *tokenCmd) Run(w *cli.World) error {
	secret := c.Secret
	if secret == "" {
		secret, _ = w.Getenv(signedWith)
	}
	if secret == "" {
		return errors.New("there is no secret to sign with: set " + signedWith + ", or give --secret")
	}
	token, err := identity.Mint(secret, identity.Token{
		Issuer: c.Issuer, Audience: c.Audience, Subject: c.Sub, Email: c.Email, Name: c.Name,
		Role: c.Role, Roles: c.Roles, Groups: c.Groups, Lifetime: c.Lifetime,
	}, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w.Stdout, token)
	return err
}
