package habits

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documents are the Markdown files of the repository, seen from its root.
func documents(t *testing.T) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		name := entry.Name()
		if err == nil && entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"bin", "data", "node_modules"}, name)) {
			return filepath.SkipDir
		}
		if err == nil && filepath.Ext(name) == ".md" {
			rel, relErr := filepath.Rel(root, path)
			found, err = append(found, rel), relErr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no Markdown file was found")
	}
	return found
}

// TestLinksResolve follows the links of the Markdown files that stay inside
// the repository, to files and to headings.
func TestLinksResolve(t *testing.T) {
	t.Parallel()
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, doc := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(withoutCode(readFile(t, doc)), -1) {
			if strings.Contains(match[1], ":") { // it has a scheme
				continue
			}
			path, heading, _ := strings.Cut(match[1], "#")
			target := doc
			if path != "" {
				target = filepath.Join(filepath.Dir(doc), path)
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, match[1])
			} else if heading != "" && !slices.Contains(anchors(readFile(t, target)), heading) {
				t.Errorf("%s links to %s, but there is no such heading", doc, match[1])
			}
		}
	}
}

// TestMakeTargetsExist compares every `make x` in the code of the Markdown
// files with the Makefile.
func TestMakeTargetsExist(t *testing.T) {
	t.Parallel()
	rule := regexp.MustCompile(`(?m)^([a-z-]+):`)
	var targets []string
	for _, match := range rule.FindAllStringSubmatch(readFile(t, "Makefile"), -1) {
		targets = append(targets, match[1])
	}
	command := regexp.MustCompile("(?m)(?:`|^\\s*)make ([a-z-]+)")
	for _, doc := range documents(t) {
		for _, match := range command.FindAllStringSubmatch(readFile(t, doc), -1) {
			if !slices.Contains(targets, match[1]) {
				t.Errorf("%s names make %s, which the Makefile has not", doc, match[1])
			}
		}
	}
}

// withoutCode removes fenced blocks, where brackets are no links.
func withoutCode(text string) string {
	return regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, "")
}

// anchors are the ids that a Markdown page gives its headings: lower case,
// blanks to hyphens, no punctuation.
func anchors(text string) []string {
	heading := regexp.MustCompile(`(?m)^#+ +(.+)$`)
	drop := regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	var ids []string
	for _, match := range heading.FindAllStringSubmatch(withoutCode(text), -1) {
		id := drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(match[1])), "")
		ids = append(ids, strings.ReplaceAll(id, " ", "-"))
	}
	return ids
}
