package main

import (
	"fmt"

	"fairlane/cmd/internal/app"
)

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(w *world) error {
	b := app.ReadBuild()
	_, err := fmt.Fprintf(w.stdout, "fairlane %s (%s, %s)\n", b.Version, b.Revision, b.GoVersion)
	return err
}
