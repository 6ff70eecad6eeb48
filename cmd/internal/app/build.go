package app

import (
	"runtime"
	"runtime/debug"
)

// Build says what is running.
type Build struct {
	Version   string // of the module, or what -ldflags set
	Revision  string // of the source, as far as the build knows
	GoVersion string
}

// version is set by the linker: -X fairlane/cmd/internal/app.version=v1.2.3.
var version = ""

// ReadBuild reads what the binary knows of itself.
func ReadBuild() Build {
	b := Build{Version: version, Revision: "unknown", GoVersion: runtime.Version()}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value[:min(len(s.Value), 12)]
		}
	}
	return b
}
