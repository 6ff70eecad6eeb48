package main

import (
	"strings"
	"testing"

	"fairlane/cmd/internal/cli"
)

// TestArticle plays the day in small.
func TestArticle(t *testing.T) {
	var out, complaints strings.Builder
	code := command().Run(&cli.World{Ctx: t.Context(), Stdout: &out, Stderr: &complaints},
		[]string{"article", "--config", "../../deploy/examples/article.yaml", "--burst", "80", "--scan", "70", "--loops", "4", "--speed", "100"})
	if code != 0 {
		t.Fatalf("%d: %s%s", code, &out, &complaints)
	}
	for _, want := range []string{"DID NOT STAND", "5×400", "limited to 60 a minute", "limited to 3 a minute", "more of the model server's memory", "Verdict: without fairlane the GPU crashed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, &out)
		}
	}
}
