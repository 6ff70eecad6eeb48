package main

import (
	"strings"
	"testing"

	"fairlane/cmd/internal/cli"
)

// TestOvertake plays the demo with a small flood.
func TestOvertake(t *testing.T) {
	var out, complaints strings.Builder
	code := command().Run(&cli.World{Ctx: t.Context(), Stdout: &out, Stderr: &complaints}, []string{"overtake", "--flood", "60", "--tokens", "20"})
	if code != 0 {
		t.Fatalf("%d: %s%s", code, &out, &complaints)
	}
	for _, want := range []string{"emulated A100 with 8 slots", "vip's first token came after", "A slot turns over every", "the flood ends after"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &out)
		}
	}
}
