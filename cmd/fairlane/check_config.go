package main

import (
	"fmt"

	"fairlane/cmd/internal/cli"
	"fairlane/cmd/internal/config"
)

type checkConfigCmd struct {
	File string `arg:"" optional:"" help:"Configuration to check; without one the defaults are shown."`
}

// Run prints what a configuration means, or all that is wrong with it.
func (c *checkConfigCmd) Run(w *cli.World) error {
	cfg, err := config.Load(c.File, w.Getenv)
	if err != nil {
		fmt.Fprintln(w.Stderr, err)
		return cli.ErrShown
	}
	return cfg.Describe(w.Stdout)
}
