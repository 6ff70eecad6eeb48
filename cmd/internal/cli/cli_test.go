package cli

import (
	"errors"
	"strings"
	"testing"
)

type grammar struct {
	Serve serveCmd `cmd:"" default:"withargs" help:"Serve."`
	Mint  mintCmd  `cmd:"" help:"Mint a coin."`
}

type serveCmd struct {
	Port int `help:"Where."`
}

func (serveCmd) Run(*World) error { return nil }

type mintCmd struct {
	Value int `help:"How much."`
}

func (c mintCmd) Run(w *World) error {
	switch c.Value {
	case 0:
		return errors.New("worth nothing")
	case 1:
		_, err := w.Stderr.Write([]byte("too small\n"))
		return errors.Join(err, ErrShown)
	default:
		return nil
	}
}

// TestRun looks at how command lines end, and that whoever is wrong is told how
// it is done right.
func TestRun(t *testing.T) {
	for line, want := range map[string]struct {
		code   int
		stderr []string // nil: nothing
		whole  bool
	}{
		"":                {code: 0},
		"--port 3":        {code: 0},
		"mint --value 2":  {code: 0},
		"mint":            {code: 1, stderr: []string{"coins: worth nothing\n"}, whole: true},
		"mint --value 1":  {code: 1, stderr: []string{"too small\n"}, whole: true},
		"bogus":           {code: 2, stderr: []string{"coins: unexpected argument bogus\n", "serve, mint", `"coins --help"`}},
		"--bogus":         {code: 2, stderr: []string{"coins: unknown flag --bogus\n", "serve, mint", `"coins --help"`}},
		"mint --value x":  {code: 2, stderr: []string{"--value", "Usage: coins mint [flags]", `"coins mint --help"`}},
		"mint now":        {code: 2, stderr: []string{"unexpected argument now", "Usage: coins mint [flags]", `"coins mint --help"`}},
		"serve --bogus 1": {code: 2, stderr: []string{"unknown flag --bogus", "Usage: coins serve [flags]", `"coins serve --help"`}},
	} {
		var out, complaints strings.Builder
		code := Command{Name: "coins", Grammar: &grammar{}}.Run(&World{Ctx: t.Context(), Stdout: &out, Stderr: &complaints}, strings.Fields(line))
		if code != want.code || out.String() != "" {
			t.Errorf("%q: ends with %d and prints %q, want %d", line, code, &out, want.code)
		}
		got := complaints.String()
		for _, part := range want.stderr {
			if !strings.Contains(got, part) || want.whole && got != part {
				t.Errorf("%q: complains %q, want %q", line, got, part)
			}
		}
		if want.stderr == nil && got != "" {
			t.Errorf("%q: complains %q", line, got)
		}
	}
}

func TestHelp(t *testing.T) {
	var out, complaints strings.Builder
	code := Command{Name: "coins", Description: "Makes money.", Grammar: &grammar{}}.Run(&World{Ctx: t.Context(), Stdout: &out, Stderr: &complaints}, []string{"--help"})
	if code != 0 || !strings.Contains(out.String(), "Makes money.") || !strings.Contains(out.String(), "Mint a coin.") || complaints.Len() > 0 {
		t.Errorf("%d, %q, %q", code, &out, &complaints)
	}
}
