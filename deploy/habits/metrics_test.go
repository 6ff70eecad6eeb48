package habits

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMetricsAreDocumented: the table has all metrics that the code makes, and no
// document names another one.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	made := metricsOfTheCode(t)
	name := regexp.MustCompile(`\bfairlane_[a-z_]+\b`)
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|")
	var documented []string
	for _, match := range row.FindAllStringSubmatch(readFile(t, "deploy/metrics.md"), -1) {
		documented = append(documented, match[1])
	}
	slices.Sort(documented)
	if diff := cmp.Diff(made, documented); diff != "" {
		t.Errorf("deploy/metrics.md and the code: -made +documented\n%s", diff)
	}
	for _, doc := range documents(t) {
		for _, m := range name.FindAllString(readFile(t, doc), -1) {
			if !slices.Contains(made, m) {
				t.Errorf("%s names %s, which nothing exports", doc, m)
			}
		}
	}
}

// metricsOfTheCode are the names among the string literals of the code, sorted. Tests
// and tools that read them add none.
func metricsOfTheCode(t *testing.T) []string {
	t.Helper()
	whole := regexp.MustCompile(`^fairlane_[a-z_]+$`)
	found := map[string]bool{}
	for _, room := range []string{"proxy", "scheduler", "cmd/internal"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil && whole.MatchString(text) {
						found[text] = true
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return slices.Sorted(maps.Keys(found))
}
