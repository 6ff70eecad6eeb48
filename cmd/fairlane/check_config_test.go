package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fairlane/cmd/internal/cli"
)

// try runs a command line as the shell would.
func try(t *testing.T, env map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, complaints strings.Builder
	w := &cli.World{Ctx: t.Context(), Stdout: &out, Stderr: &complaints, Getenv: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}}
	code = command().Run(w, args)
	return code, out.String(), complaints.String()
}

func TestCheckConfig(t *testing.T) {
	code, out, complaints := try(t, map[string]string{"VLLM_URL": "http://gpu:8000"}, "check-config", "../../deploy/fairlane.yaml")
	if code != 0 || complaints != "" {
		t.Fatalf("%d: %s", code, complaints)
	}
	for _, want := range []string{"* http.max_body ", "* pools[0].backends[0].url ", "http://gpu:8000", "\n  policy[3] anonymous=true\n", "\n  somebody known\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
}

func TestCheckConfigWithoutFile(t *testing.T) {
	code, out, complaints := try(t, nil, "check-config")
	if code != 0 || complaints != "" || !strings.Contains(out, "  listen ") || !strings.Contains(out, "an emulated vLLM") {
		t.Errorf("%d: %s%s", code, out, complaints)
	}
}

func TestCheckConfigWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fairlane.yaml")
	if err := os.WriteFile(file, []byte("listen: \":9000\"\nqueue: {max_bites: 1GB}\nlog:\n  level: loud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, complaints := try(t, nil, "check-config", file)
	want := file + ":2:9: queue.max_bites: there is no such key; did you mean max_bytes?\n" +
		file + `:4:10: log.level: found "loud", expected debug | info | warn | error` + "\n"
	if code != 1 || out != "" || complaints != want {
		t.Errorf("%d, %q, complaints\n%swant\n%s", code, out, complaints, want)
	}
	if code, out, complaints = try(t, nil, "check-config", file+"x"); code != 1 || out != "" || !strings.Contains(complaints, "no such file") {
		t.Errorf("%d, %q, %q", code, out, complaints)
	}
	if code, _, complaints = try(t, nil, "check-config", "a", "b"); code != 2 || complaints == "" {
		t.Errorf("%d, %q", code, complaints)
	}
}
