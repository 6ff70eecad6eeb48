package main

import (
	"fmt"

	"fairlane/cmd/internal/app"
	"fairlane/cmd/internal/cli"
)

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(w *cli.World) error {
	b := app.ReadBuild()
	_, err := fmt.Fprintf(w.Stdout, "fairlane %s (%s, %s)\n", b.Version, b.Revision, b.GoVersion)
	return err
}
