package fairqueue

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A script is blocks of commands, each followed by ---- and what they print.
// With -update the outputs are written anew: read the diff.
//
//	depth N | tiers DEPTH FLOOR...
//	push ID PATH [tier=N] [at=SECONDS] [prio=N] [order=newest] [seq=N] [est=TOKENS] [w=W/W] [user=KEY] [max=N]
//	dispatch [RESERVE] [stop=ID] [kv=ID] [skip=CLASS] [no=ID,ID]
//	progress ID TOKENS | settle ID TOKENS | requeue ID | cancel ID
//	adopt ID PATH [w=W/W] CHARGED
//	weight PATH W | max USER N | print | outlook ID... | classes | save | load
var update = flag.Bool("update", false, "write the expected output of the scripts anew") //nolint:gochecknoglobals // go test knows flags that are there before it starts

func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t)
	var got strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		commands, _, asks := strings.Cut(block, "----\n")
		if !asks {
			commands = strings.TrimSuffix(block, "----")
		}
		var out strings.Builder
		for line := range strings.Lines(commands) {
			out.WriteString(s.command(strings.TrimSpace(line)))
		}
		fmt.Fprintf(&got, "%s\n", strings.TrimRight(commands, "\n"))
		if asks || strings.HasSuffix(block, "----") || out.Len() > 0 {
			fmt.Fprintf(&got, "----\n%s", out.String())
		}
		got.WriteByte('\n')
	}
	want := strings.TrimSpace(string(text)) + "\n"
	now := strings.TrimSpace(got.String()) + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(now), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(now, "\n")); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// newQueue is a queue of a depth that is possible.
func newQueue(depth int) *Queue {
	q, err := New(Config{Depth: depth})
	if err != nil {
		panic(err)
	}
	return q
}

type script struct {
	t     *testing.T
	q     *Queue
	rs    map[string]*Request
	saved []Debt
	owed  []Cost
}

func newScript(t *testing.T) *script {
	t.Helper()
	return &script{t: t, rs: map[string]*Request{}}
}

// options are the k=v words of a command; the others stay in order.
func options(words []string) (plain []string, o map[string]string) {
	o = map[string]string{}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			o[k] = v
			continue
		}
		plain = append(plain, w)
	}
	return plain, o
}

func (s *script) number(text string) float64 {
	if text == "" {
		return 0
	}
	x, err := strconv.ParseFloat(text, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return x
}

func (s *script) cost(text string) Cost { return Cost(s.number(text) * float64(Token)) }

func (s *script) command(line string) string {
	s.t.Helper()
	if line == "" || strings.HasPrefix(line, "#") {
		return ""
	}
	words, o := options(strings.Fields(line))
	verb, args := words[0], words[1:]
	out := ""
	switch verb {
	case "depth":
		q, err := New(Config{Depth: int(s.number(args[0]))})
		if err != nil {
			return err.Error() + "\n"
		}
		s.q = q
	case "tiers":
		floors := make([]float64, len(args)-1)
		for i := range floors {
			floors[i] = s.number(args[i+1])
		}
		q, err := New(Config{Depth: int(s.number(args[0])), Floors: floors})
		if err != nil {
			return err.Error() + "\n"
		}
		s.q = q
	case "push", "adopt":
		s.enter(verb, args, o)
	case "dispatch":
		out = s.dispatch(args, o)
	case "progress":
		s.q.Progress(s.rs[args[0]], s.cost(args[1]))
	case "settle":
		s.q.Settle(s.rs[args[0]], s.cost(args[1]))
	case "requeue":
		s.q.Requeue(s.rs[args[0]])
	case "cancel":
		s.q.Remove(s.rs[args[0]])
	case "weight":
		s.q.SetWeight(strings.Split(args[0], "/"), s.number(args[1]))
	case "reweigh":
		s.q.Reweigh(s.rs[args[0]], s.number(args[1]))
	default:
		out = s.look(verb, args)
	}
	if err := s.q.Check(); err != nil {
		s.t.Fatalf("after %q: %v", line, err)
	}
	return out
}

func (s *script) look(verb string, args []string) string {
	var b strings.Builder
	switch verb {
	case "print":
		return s.q.Dump().String()
	case "outlook":
		for _, id := range args {
			o := s.q.Outlook(s.rs[id])
			fmt.Fprintf(&b, "%s: position=%d ahead=%d cost=%s lag=%s share=%s\n", id, o.Position, o.AheadInFlow,
				number(float64(o.AheadCost)/1000), number(float64(o.Lag)/1000), number(o.Share))
		}
	case "classes":
		for _, c := range s.q.Classes() {
			oldest := "none"
			if !c.Oldest.IsZero() {
				oldest = strconv.FormatInt(c.Oldest.Unix(), 10)
			}
			fmt.Fprintf(&b, "%s w=%s waiting=%d running=%d estimate=%s oldest=%s\n", c.Key, number(c.Weight), c.Waiting, c.Running,
				number(float64(c.Estimate)/1000), oldest)
		}
	case "save":
		s.saved, s.owed = s.q.Export(), s.q.Owed()
		for i, c := range s.owed {
			fmt.Fprintf(&b, "tier %d owes %s\n", i, number(float64(c)/1000))
		}
		for _, d := range s.saved {
			fmt.Fprintf(&b, "%s owes %s\n", strings.Join(d.Path, "/"), number(tokens(d.V)))
		}
	case "load":
		s.q.Import(s.saved)
		s.q.Owe(s.owed)
	case "charged":
		for _, id := range args {
			fmt.Fprintf(&b, "%s: %s at %v\n", id, number(float64(s.rs[id].Charged())/1000), s.rs[id].Weights())
		}
	default:
		s.t.Fatalf("unknown command %q", verb)
	}
	return b.String()
}

func (s *script) enter(verb string, args []string, o map[string]string) {
	r := &Request{
		ID: args[0], Priority: int(s.number(o["prio"])), AcceptedAt: time.Unix(int64(s.number(o["at"])), 0),
		Sequences: int(s.number(o["seq"])), Estimate: s.cost(o["est"]),
		Tier: int(s.number(o["tier"])), Newest: o["order"] == "newest",
	}
	s.rs[r.ID] = r
	keys := strings.Split(args[1], "/")
	path, weights := make([]Step, len(keys)), make([]float64, len(keys))
	for i, key := range keys {
		path[i] = Step{Key: key, Weight: 1}
		weights[i] = 1
	}
	if o["w"] != "" {
		for i, w := range strings.Split(o["w"], "/") {
			path[i].Weight, weights[i] = s.number(w), s.number(w)
		}
	}
	u := User{Key: keys[len(keys)-1], MaxRunning: int(s.number(o["max"]))}
	if verb == "push" {
		s.q.Push(r, path, u)
		return
	}
	s.q.Adopt(r, path, u, weights, s.cost(args[2]))
}

func (s *script) dispatch(args []string, o map[string]string) string {
	reserve := 100 * Token
	if len(args) > 0 {
		reserve = s.cost(args[0])
	}
	var asked []string
	r := s.q.Dispatch(func(r *Request, bypass bool) Decision {
		if bypass {
			asked = append(asked, r.ID)
		}
		switch {
		case r.flow.top().key == o["skip"]:
			return Decision{Verdict: Skip}
		case r.ID == o["stop"]:
			return Decision{Verdict: Stop}
		case r.ID == o["kv"] || bypass && strings.Contains(","+o["no"]+",", ","+r.ID+","):
			return Decision{Verdict: Bypass}
		}
		if r.ID == o["yield"] && !bypass {
			return Decision{Verdict: Yield, Reserve: reserve}
		}
		return Decision{Verdict: Take, Reserve: reserve}
	})
	line := "nothing"
	if r != nil {
		line = r.ID
	}
	if len(asked) > 0 {
		line += " (may pass? " + strings.Join(asked, " ") + ")"
	}
	return line + "\n"
}
