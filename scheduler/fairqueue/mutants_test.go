package fairqueue

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// mutant is a mistake that somebody could make in this package, as a change of its
// source, and the test that tells.
type mutant struct {
	name   string
	edits  []edit
	caught string
}

type edit struct{ file, from, to string }

func mutants() []mutant {
	return []mutant{
		{
			"no lift", []edit{
				{"level.go", "n.floor = l.lift(q)", "n.floor = min(n.v, l.lift(q))"},
				{"queue.go", "n.v, n.floor = key, l, l.vnow, l.vnow", "n.v, n.floor = key, l, 0, 0"},
			}, "TestSiblingBound",
		},
		{"no clamp at the floor", []edit{{"level.go", "if d < 0 {", "if false {"}}, "TestScripts/floor"},
		{"ties by id", []edit{{"heap.go", "e.act < o.act", "e.n.key < o.n.key"}}, "TestScripts/ties"},
		{"no fluid clock", []edit{{"level.go", "max(l.fluid, l.net, l.vnow)", "l.vnow"}}, "TestNewcomersDoNotFreezeTheClock"},
		{"the fluid clock without a bound", []edit{{"level.go", "min(l.begun, l.ready.e[0].v+q)", "l.begun"}}, "TestScripts/lift"},
		{"who comes back goes behind all others", []edit{{"level.go", "max(l.vnow, min(l.begun", "max(l.vnow, l.ready.e[0].v, min(l.begun"}}, "TestScripts/lift"},
		{"a reserve moves the clock at once", []edit{{"level.go", "l.begun = was", "l.begun = l.fluid"}}, "TestScripts/lift"},
		{"a clock that forgets refunds", []edit{{"level.go", "max(l.vnow, l.net)+span(c, l.active)", "max(l.fluid, l.net)+span(c, l.active)"}}, "TestScripts/floor"},
		{"a hang-up settles 0", []edit{{"cost.go", "return Actual(w, in.Tokens, in.Cached, generated)", "return 0"}}, "TestHangUpsPayForTheirPrompts"},
		{
			"max_running skipped in place", []edit{
				{"flow.go", "return r.maxRunning <= 0 ||", "return running >= 0 ||"},
				{"dispatch.go", "r := n.first()\n", "r := n.first()\n\t\tif u := r.flow.user; r.maxRunning > 0 && u.running > 0 && u.running+r.sequences() > r.maxRunning {\n\t\t\tcontinue\n\t\t}\n"},
			}, "TestRaisedLimitBringsNoCredit",
		},
		{"a bypass that raises vnow", []edit{{"dispatch.go", "n.in.served()", "n.in.vnow = max(n.in.vnow, n.v)"}}, "TestBypassLeavesTheClock"},
		{"a jump without a bound", []edit{{"dispatch.go", "if p.near && n.v >", "if p.near && n.v < 0 && n.v >"}}, "TestYieldIsBounded"},
		{"cached tokens ignored", []edit{{"cost.go", "cached = min(max(cached, 0), input)", "cached = 0"}}, "TestCost"},
		{"max_tokens reserved where the stream is seen", []edit{{"cost.go", "out /= 2", "out /= 1"}}, "TestCost"},
		{"what runs is counted per leaf", []edit{{"queue.go", "if q.users[key] == nil {", "if true {"}}, "TestScripts/maxrunning"},
		{"the user's last request says what it weighs", []edit{{"flow.go", "f.reweigh(r.weight)", "_ = r"}}, "TestScripts/bounds"},
		{"a refund at the present weight", []edit{{"dispatch.go", "span(x.charged, x.weights[i])", "span(x.charged, n.weight)"}}, "TestScripts/weights"},
		{"what returns is lifted", []edit{{"queue.go", "case restored:", "case restored && may != may:"}}, "TestScripts/requeue"},
		{"what returned keeps its privilege", []edit{{"dispatch.go", "if n.kept {", "if false {"}}, "TestScripts/requeue"},
		{"debts are forgotten", []edit{{"level.go", "l.resting.e[0].v <= l.fluid", "l.resting.e[0].n != nil"}}, "TestScripts/forget"},
		{"progress is not charged", []edit{{"settle.go", "if actual > r.flight.charged {", "if actual < 0 {"}}, "TestScripts/stream"},
		{"a tier without a floor", []edit{{"tier.go", "return t.owed > float64(t.unspent)", "return t.owed > 1e18"}}, "TestNobodyBelowATierStarves"},
		{"a floor that forgets what runs", []edit{{"tier.go", "return t.owed > float64(t.unspent)", "return t.owed > 0"}}, "TestTierFloor"},
		{"a floor of what is above alone", []edit{{"tier.go", "t.owed -= (1 - t.floor) * float64(c)", "t.owed -= float64(c)"}}, "TestTierFloor"},
		{"a gift is paid for", []edit{{"tier.go", "case below && t.owes(), ", "case below, "}}, "TestTierKeepsNoCredit"},
		{"a tier's debt to nobody", []edit{{"tier.go", "t.owed = min(t.owed, float64(t.unspent))", "t.owed = max(t.owed, float64(t.unspent))"}}, "TestTierKeepsNoCredit"},
		{"who passes a tier is owed", []edit{{"tier.go", "!below && !t.owes() && q.readyBelow(i)", "!below && q.readyBelow(i)"}}, "TestBlockedTurnMakesNoDebt"},
		{"the newest last", []edit{{"flow.go", "return r.later(o)\n\tdefault", "return o.later(r)\n\tdefault"}}, "TestScripts/newest"},
		{"no rebase", []edit{{"level.go", "if l.vnow >= rebaseAt {", "if l.vnow < 0 {"}}, "TestRebase"},
	}
}

// TestMutantsAreCaught expects that for each mistake the test named for it fails.
// They are all in one binary, built once: a function with a mistake stands beside
// the right one, and an environment variable says which is called.
func TestMutantsAreCaught(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the package once more")
	}
	binary := buildMutants(t)
	var all []string
	for _, m := range mutants() {
		test, _, _ := strings.Cut(m.caught, "/")
		all = append(all, test)
	}
	if out, err := runMutant(t, binary, 0, strings.Join(all, "|")); err != nil {
		t.Fatalf("without any mistake all tests have to pass: %v\n%s", err, out)
	}
	for i, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if out, err := runMutant(t, binary, i+1, m.caught); err == nil || !strings.Contains(out, "--- FAIL: "+m.caught) {
				t.Errorf("%s did not notice: %v\n%s", m.caught, err, out)
			}
		})
	}
}

// runMutant runs one test with the mistake of that number; 0: with none.
func runMutant(t *testing.T, binary string, number int, test string) (string, error) {
	t.Helper()
	run := "^(" + strings.ReplaceAll(test, "/", ")$/^(") + ")$"
	cmd := exec.CommandContext(t.Context(), binary, "-test.v", "-test.run="+run, "-rapid.nofailfile", "-rapid.seed=1")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", mutantVariable, number), "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

const mutantVariable = "FAIRQUEUE_MUTANT"

// buildMutants builds the tests of the package with all mistakes in it, the way
// in which this test was built, so that what it needs is built already.
func buildMutants(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sources := map[string]*source{}
	for i, m := range mutants() {
		for _, e := range m.edits {
			if sources[e.file] == nil {
				sources[e.file] = readSource(t, e.file)
			}
			sources[e.file].mutate(t, i+1, e)
		}
	}
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
	for name, s := range sources {
		write(name, s.mutated())
	}
	write("mutant.go", fmt.Sprintf("package fairqueue\n\nimport (\n\"os\"\n\"strconv\"\n)\n\nvar mistake, _ = strconv.Atoi(os.Getenv(%q))\n", mutantVariable))
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay, binary := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "mutants.test")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"test", "-c", "-overlay", overlay, "-o", binary, "."}
	if out, err := exec.CommandContext(t.Context(), "go", slices.Insert(args, 1, raceFlag())...).CombinedOutput(); err != nil {
		t.Fatalf("the mutants do not compile: %v\n%s", err, out)
	}
	return binary
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

// source is a file of the package, and what its mutants add to it.
type source struct {
	name, text string
	funcs      []*ast.FuncDecl
	branches   map[*ast.FuncDecl]string // at the beginning of its body
	copies     strings.Builder          // with mistakes
}

func readSource(t *testing.T, name string) *source {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	s := &source{name: name, text: string(text), branches: map[*ast.FuncDecl]string{}}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			s.funcs = append(s.funcs, f)
		}
	}
	return s
}

// mutate adds a copy of the function that an edit changes, and a branch to it.
func (s *source) mutate(t *testing.T, number int, e edit) {
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
