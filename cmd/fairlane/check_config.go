package main

import (
	"fmt"

	"fairlane/cmd/internal/config"
)

type checkConfigCmd struct {
	File string `arg:"" optional:"" help:"Configuration to check; without one the defaults are shown."`
}

// Run prints what a configuration means, or all that is wrong with it.
func (c *checkConfigCmd) Run(w *world) error {
	cfg, err := config.Load(c.File, w.getenv)
	if err != nil {
		fmt.Fprintln(w.stderr, err)
		return errShown
	}
	return cfg.Describe(w.stdout)
}
