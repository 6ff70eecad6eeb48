package main

import (
	"fairlane/cmd/internal/app"
	"fairlane/cmd/internal/cli"
)

type serveCmd struct {
	Config string   `short:"c" type:"path" placeholder:"FILE" help:"Configuration; without one the defaults hold."`
	VLLM   string   `name:"vllm" placeholder:"URL" help:"The backend, instead of the first pool's; also VLLM_URL. Without any an emulated vLLM answers."`
	Roles  []string `placeholder:"ROLE" help:"Which roles this process plays: proxy, dispatcher, worker; all by default. A part needs nats.url."`
}

// Run serves until it is told to stop.
func (c *serveCmd) Run(w *cli.World) error {
	roles, err := app.ParseRoles(c.Roles)
	if err != nil {
		return err
	}
	a, err := app.New(app.Options{ConfigPath: c.Config, VLLM: c.VLLM, Roles: roles, Env: w.Getenv, Stdout: w.Stdout, Stderr: w.Stderr})
	if err != nil {
		return err
	}
	return a.Run(w.Ctx)
}
