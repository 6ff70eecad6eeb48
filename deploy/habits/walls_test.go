package habits

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// breach is a package, an import, and the walls that stand between them.
type breach struct {
	from, imports string
	walls         string // the depguard rules that report it, sorted; empty: the import is allowed
}

func breaches() []breach {
	return []breach{
		{"scheduler/fairqueue", "container/heap", ""},
		{"scheduler/fairqueue", "math", ""},
		{"scheduler/fairqueue", "math/rand/v2", "pure-rooms"},
		{"scheduler/fairqueue", "sync", "pure-rooms"},
		{"scheduler/fairqueue", "fairlane/scheduler", "pure-rooms"},
		{"scheduler/capacity", "context", "pure-rooms"},
		{"scheduler/capacity", "go.uber.org/atomic", "pure-rooms"},
		{"scheduler/gpumodel", "log/slog", "pure-rooms"},

		{"scheduler/turn", "fairlane/scheduler/capacity", ""},
		{"scheduler/turn", "fairlane/scheduler", ""},
		{"scheduler/turn", "fairlane/scheduler/broker", "turn-joins-pure-rooms"},
		{"scheduler/turn", "sync", "turn-joins-pure-rooms"},

		{"scheduler", "context", ""},
		{"scheduler", "fairlane/scheduler/capacity", "vocabulary"},
		{"scheduler", "fairlane/proxy/openai", "scheduler-knows-no-edge vocabulary"},

		{"scheduler/dispatcher", "fairlane/scheduler", ""},
		{"scheduler/dispatcher", "fairlane/scheduler/broker", ""},
		{"scheduler/dispatcher", "fairlane/proxy", "scheduler-knows-no-edge"},
		{"scheduler/dispatcher", "fairlane/proxy/openai", "scheduler-knows-no-edge"},
		{"scheduler/calls", "fairlane/proxy/identity", "scheduler-knows-no-edge"},
		{"scheduler/broker", "fairlane/loadtest/vllmsim", "scheduler-knows-no-edge"},

		{"scheduler/vllm", "fairlane/proxy/openai", ""},
		{"scheduler/worker", "fairlane/proxy/openai", ""},
		{"scheduler/worker", "fairlane/scheduler/vllm", ""},
		{"scheduler/vllm", "fairlane/proxy/policy", "backend-speaks-openai"},
		{"scheduler/worker", "fairlane/proxy", "backend-speaks-openai"},
		{"scheduler/worker", "fairlane/loadtest/vllmsim", "backend-speaks-openai"},

		{"cmd/internal/app", "fairlane/scheduler/dispatcher", ""},
		{"cmd/internal/app", "fairlane/scheduler/worker", ""},
		{"scheduler/broker", "fairlane/scheduler/dispatcher", "roles-are-started-by-cmd"},
		{"scheduler/calls", "fairlane/scheduler/worker", "roles-are-started-by-cmd"},
		{"loadtest/vllmsim", "fairlane/cmd/fairlane", "roles-are-started-by-cmd"},

		{"proxy", "fairlane/scheduler", ""},
		{"proxy", "fairlane/scheduler/calls", ""},
		{"proxy", "fairlane/proxy/identity", ""},
		{"proxy", "fairlane/scheduler/broker", "proxy-sees-vocabulary"},
		{"proxy/admin", "fairlane/scheduler/vllm", "proxy-sees-vocabulary"},
		{"proxy/policy", "fairlane/loadtest/vllmsim", "proxy-sees-vocabulary"},

		{"proxy/openai", "encoding/json", ""},
		{"proxy/openai", "fairlane/scheduler", "openai-is-a-leaf"},
		{"proxy/openai", "fairlane/proxy/limit", "openai-is-a-leaf"},

		{"loadtest/vllmsim", "fairlane/scheduler/gpumodel", ""},
		{"loadtest/vllmsim", "fairlane/proxy/openai", ""},
		{"loadtest/vllmsim", "fairlane/proxy", "loadtest-is-a-black-box"},
		{"loadtest/vllmsim", "fairlane/proxy/policy", "loadtest-is-a-black-box"},
		{"loadtest/vllmsim", "fairlane/scheduler", "loadtest-is-a-black-box"},
		{"loadtest/vllmsim", "fairlane/scheduler/calls", "loadtest-is-a-black-box"},

		{"loadtest/simulate", "fairlane/scheduler/turn", ""},
		{"loadtest/simulate", "fairlane/scheduler", ""},
		{"loadtest/simulate", "fairlane/proxy/policy", ""},
		{"loadtest/simulate", "fairlane/proxy/limit", ""},
		{"loadtest/simulate", "fairlane/proxy/limit/quota", "simulate-decides-itself"},
		{"loadtest/simulate", "fairlane/proxy", "simulate-decides-itself"},
		{"loadtest/simulate", "fairlane/scheduler/broker", "simulate-decides-itself"},

		{"scheduler/broker", "github.com/nats-io/nats.go/jetstream", ""},
		{"scheduler/dispatcher", "github.com/nats-io/nats.go", "nats-lives-in-broker"},
		{"cmd/internal/app", "github.com/nats-io/nats-server/v2/server", "nats-lives-in-broker"},

		{"proxy/identity", "github.com/go-ldap/ldap/v3", ""},
		{"proxy/identity/ldaptest", "github.com/go-ldap/ldap/v3", ""},
		{"cmd/internal/app", "github.com/go-ldap/ldap/v3", "ldap-lives-in-identity"},

		{"proxy/limit", "github.com/redis/go-redis/v9", ""},
		{"cmd/internal/app", "github.com/redis/go-redis/v9", ""},
		{"proxy", "github.com/redis/go-redis/v9", "redis-lives-in-limit"},

		{"cmd/fairlane", "math/rand/v2", ""},
		{"cmd/fairlane", "math/rand", "everywhere"},
		{"cmd/fairlane", "log", "everywhere"},
		{"cmd/fairlane", "github.com/pkg/errors", "everywhere"},
		{"cmd/fairlane", "github.com/stretchr/testify/require", "everywhere"},
		{"cmd/fairlane", "gopkg.in/yaml.v3", "everywhere"},
	}
}

// TestLintReportsEveryWall writes a module of the same name with a package for
// each breach, lints it under the repository's configuration, and compares what
// is reported with the walls.
func TestLintReportsEveryWall(t *testing.T) {
	t.Parallel()
	lint := lintCommand(t)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, ".golangci.yml"), readFile(t, ".golangci.yml"))
	gomod := map[string]bool{"module fairlane\n": true, "go 1.26.0\n": true}
	want := map[string]string{}
	for i, b := range breaches() {
		gomod[writeStub(t, dir, b.imports)] = true
		name := breachFile(b.from, i)
		writeFile(t, filepath.Join(dir, name), fmt.Sprintf("package stub\n\nimport _ %q\n", b.imports))
		if b.walls != "" {
			want[name] = b.walls
		}
	}
	writeFile(t, filepath.Join(dir, "go.mod"), strings.Join(slices.Collect(maps.Keys(gomod)), ""))
	if diff := cmp.Diff(want, reported(t, lint, dir)); diff != "" {
		t.Errorf("walls that report an import (-want +got):\n%s", diff)
	}
}

// breachFile lies in a package below the room, so that rooms which import each
// other make no cycle. The vocabulary is one package and has no below.
func breachFile(room string, i int) string {
	if room == "scheduler" {
		return fmt.Sprintf("scheduler/breach%02d.go", i)
	}
	return fmt.Sprintf("%s/breach%02d/file.go", room, i)
}

// writeStub makes an import resolve without the network: an empty package of
// the module in dir, or an empty module, whose lines for go.mod it returns. The
// standard library needs neither.
func writeStub(t *testing.T, dir, path string) string {
	t.Helper()
	if local, ok := strings.CutPrefix(path, "fairlane/"); ok {
		writeFile(t, filepath.Join(dir, local, "stub.go"), "package stub\n")
		return ""
	}
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") {
		return ""
	}
	stub := filepath.Join("_stubs", filepath.FromSlash(path))
	writeFile(t, filepath.Join(dir, stub, "go.mod"), "module "+path+"\n")
	writeFile(t, filepath.Join(dir, stub, "stub.go"), "package stub\n")
	version := "v0.0.0"
	if major := regexp.MustCompile(`[/.](v[0-9]+)$`).FindStringSubmatch(path); major != nil {
		version = major[1] + ".0.0"
	}
	return fmt.Sprintf("require %[1]s %[2]s\nreplace %[1]s => ./%[3]s\n", path, version, filepath.ToSlash(stub))
}

// TestEveryWallIsTried compares the breaches above with the rules of the
// configuration, so that a new wall comes with a breach.
func TestEveryWallIsTried(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for _, b := range breaches() {
		for wall := range strings.FieldsSeq(b.walls) {
			tried[wall] = true
		}
	}
	if diff := cmp.Diff(configuredWalls(t), tried); diff != "" {
		t.Errorf("rules of depguard (-configured +tried):\n%s", diff)
	}
}

// reported runs depguard alone and returns, by file, the walls that spoke.
func reported(t *testing.T, lint, dir string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), lint, "run", "--enable-only", "depguard", "--allow-parallel-runners",
		"--uniq-by-line=false", "--output.json.path", "stdout", "--output.text.path", "stderr", "--show-stats=false")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOLANGCI_LINT_CACHE="+t.TempDir())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: it found something
		t.Fatalf("%v\n%s", err, &stderr)
	}
	var report struct {
		Issues []struct {
			Text string
			Pos  struct{ Filename string }
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		t.Fatalf("the report is not JSON: %v\n%s%s", err, &stdout, &stderr)
	}
	walls := map[string][]string{}
	for _, issue := range report.Issues {
		_, list, _ := strings.Cut(issue.Text, "from list '")
		wall, _, _ := strings.Cut(list, "'")
		walls[issue.Pos.Filename] = append(walls[issue.Pos.Filename], wall)
	}
	got := map[string]string{}
	for name, of := range walls {
		got[name] = strings.Join(slices.Sorted(slices.Values(of)), " ")
	}
	return got
}

// configuredWalls are the names of depguard's rules.
func configuredWalls(t *testing.T) map[string]bool {
	t.Helper()
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]any
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, ".golangci.yml")), &config); err != nil {
		t.Fatal(err)
	}
	walls := map[string]bool{}
	for name := range config.Linters.Settings.Depguard.Rules {
		walls[name] = true
	}
	return walls
}

// lintCommand is the pinned golangci-lint, which make lint builds.
func lintCommand(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, "bin", "golangci-lint"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("bin/golangci-lint is not built: run make tools")
	}
	return path
}
