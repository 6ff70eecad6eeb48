package mutants

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// source is a file of the package, and what its mutants add to it.
type source struct {
	name, pkg, text string
	funcs           []*ast.FuncDecl
	branches        map[*ast.FuncDecl]string // at the beginning of its body
	copies          strings.Builder          // with mistakes
}

func readSource(t *testing.T, name string) *source {
	t.Helper()
	text, err := os.ReadFile(name) //nolint:gosec // a source of the package that is tested
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{name: name, pkg: file.Name.Name, text: string(text), branches: map[*ast.FuncDecl]string{}}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			s.funcs = append(s.funcs, f)
		}
	}
	return s
}

// mutate adds a copy of the function that an edit changes, and a branch to it.
func (s *source) mutate(t *testing.T, number int, e Edit) {
	t.Helper()
	if n := strings.Count(s.text, e.from); n != 1 {
		t.Fatalf("%s has %q %d times, want once: the mutant is out of date", s.name, e.from, n)
	}
	at := strings.Index(s.text, e.from)
	i := slices.IndexFunc(s.funcs, func(f *ast.FuncDecl) bool { return offset(f.Pos()) <= at && at < offset(f.End()) })
	if i < 0 {
		t.Fatalf("%s: %q is in no function", s.name, e.from)
	}
	f := s.funcs[i]
	name := fmt.Sprintf("%sMutant%d", f.Name.Name, number)
	copied := s.text[offset(f.Pos()):offset(f.Name.Pos())] + name + s.text[offset(f.Name.End()):offset(f.End())]
	s.copies.WriteString("\n" + strings.Replace(copied, e.from, e.to, 1) + "\n")

	var args []string
	for _, field := range f.Type.Params.List {
		for _, n := range field.Names {
			args = append(args, n.Name)
		}
	}
	call := fmt.Sprintf("%s(%s)", name, strings.Join(args, ", "))
	if f.Recv != nil {
		call = f.Recv.List[0].Names[0].Name + "." + call
	}
	if f.Type.Results != nil {
		call = "return " + call
	} else {
		call += "; return"
	}
	s.branches[f] += fmt.Sprintf(" if mistake == %d { %s };", number, call)
}

// mutated is the file with all that was added.
func (s *source) mutated() string {
	var b strings.Builder
	done := 0
	for _, f := range s.funcs {
		body := offset(f.Body.Lbrace) + 1
		b.WriteString(s.text[done:body] + s.branches[f])
		done = body
	}
	return b.String() + s.text[done:] + s.copies.String()
}

// offset of a position in the only file of its set.
func offset(p token.Pos) int { return int(p) - 1 }
