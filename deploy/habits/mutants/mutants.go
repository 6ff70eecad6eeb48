package mutants

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// Mutant is a mistake that somebody could make in a package, and the test that tells.
type Mutant struct {
	name, caught string
	edits        []Edit
}

// Edit is a change of a package's source.
type Edit struct{ file, from, to string }

// Of names a mistake and the test that has to notice it.
func Of(name, caught string, edits ...Edit) Mutant {
	return Mutant{name: name, caught: caught, edits: edits}
}

// In replaces some text, which stands once in a file of the package, in one function.
func In(file, from, to string) Edit { return Edit{file, from, to} }

// Check expects that for each mistake in the package that is tested the test named for
// it fails. It builds the package once more, and so not if the tests are to be short.
func Check(t *testing.T, all ...Mutant) {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the package once more")
	}
	binary := build(t, all)
	var tests []string
	for _, m := range all {
		test, _, _ := strings.Cut(m.caught, "/")
		tests = append(tests, test)
	}
	if out, err := run(t, binary, 0, strings.Join(tests, "|")); err != nil {
		t.Fatalf("without any mistake all tests have to pass: %v\n%s", err, out)
	}
	for i, m := range all {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if out, err := run(t, binary, i+1, m.caught); err == nil || !strings.Contains(out, "--- FAIL: "+m.caught) {
				t.Errorf("%s did not notice: %v\n%s", m.caught, err, out)
			}
		})
	}
}

// run runs one test with the mistake of that number; 0: with none.
func run(t *testing.T, binary string, number int, test string) (string, error) {
	t.Helper()
	args := []string{"-test.v", "-test.run=^(" + strings.ReplaceAll(test, "/", ")$/^(") + ")$"}
	if flag.Lookup("rapid.seed") != nil {
		args = append(args, "-rapid.nofailfile", "-rapid.seed=1")
	}
	cmd := exec.CommandContext(t.Context(), binary, args...) //nolint:gosec // it was built here
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", variable, number), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const variable = "FAIRLANE_MUTANT"

// build builds the tests of the package with all mistakes in it, the way in which this
// test was built, so that what it needs is built already.
func build(t *testing.T, all []Mutant) string {
	t.Helper()
	sources := map[string]*source{}
	for i, m := range all {
		for _, e := range m.edits {
			if sources[e.file] == nil {
				sources[e.file] = readSource(t, e.file)
			}
			sources[e.file].mutate(t, i+1, e)
		}
	}
	dir := t.TempDir()
	overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutants.test")
	writeOverlay(t, dir, overlay, sources)
	args := []string{"test", raceFlag(), "-c", "-overlay", overlay, "-o", binary, "."}
	if out, err := exec.CommandContext(t.Context(), "go", args...).CombinedOutput(); err != nil { //nolint:gosec // go, and files of this test
		t.Fatalf("the mutants do not compile: %v\n%s", err, out)
	}
	return binary
}

// writeOverlay lets go build read the mutated sources, and one that says which mistake
// is made.
func writeOverlay(t *testing.T, dir, overlay string, sources map[string]*source) {
	t.Helper()
	replace := map[string]string{}
	write := func(name, text string) {
		at, err := filepath.Abs(name)
		if err != nil {
			t.Fatal(err)
		}
		replace[at] = filepath.Join(dir, name)
		if err := os.WriteFile(replace[at], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pkg := ""
	for name, s := range sources {
		write(name, s.mutated())
		pkg = s.pkg
	}
	write("mutant.go", fmt.Sprintf("package %s\n\nimport (\n\"os\"\n\"strconv\"\n)\n\nvar mistake, _ = strconv.Atoi(os.Getenv(%q))\n", pkg, variable))
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func raceFlag() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" {
				return "-race=" + s.Value
			}
		}
	}
	return "-race=false"
}
