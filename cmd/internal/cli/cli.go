// Package cli runs a command line: it parses the arguments, runs the command, and
// turns how that went into what a shell expects.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// World is what a command may touch; tests bring their own.
type World struct {
	Ctx    context.Context // ends with SIGINT or SIGTERM; a second one ends the process
	Stdout io.Writer
	Stderr io.Writer
	Getenv func(string) (string, bool)
}

// ErrShown ends a command whose complaint was already printed.
var ErrShown = errors.New("see above")

// Command is a program.
type Command struct {
	Name        string
	Description string
	Grammar     any // a pointer to kong's struct of commands, whose Run takes a *World
}

// Main runs the program as the process' own, and ends it.
func (c Command) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // whoever says it twice means it
	code := c.Run(&World{Ctx: ctx, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.LookupEnv}, os.Args[1:])
	stop()
	os.Exit(code)
}

// Run runs a command line: 0 is success, 1 a failure, 2 a wrong use.
func (c Command) Run(w *World, args []string) int {
	exited := -1
	parser, err := kong.New(c.Grammar, kong.Name(c.Name), kong.Writers(w.Stdout, w.Stderr), kong.Exit(func(code int) { exited = code }),
		kong.Description(c.Description), kong.Bind(w))
	if err != nil {
		fmt.Fprintf(w.Stderr, "%s: %v\n", c.Name, err)
		return 2
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintf(w.Stderr, "%s: %v\n", c.Name, err)
		usage(w.Stderr, parser, args, err)
		return 2
	}
	if err := parsed.Run(); err != nil {
		if !errors.Is(err, ErrShown) {
			fmt.Fprintf(w.Stderr, "%s: %v\n", c.Name, err)
		}
		return 1
	}
	return 0
}

// usage says how the command that was meant is used. Where none is named, it says
// which there are: the default one is not what a misspelt name means.
func usage(out io.Writer, parser *kong.Kong, args []string, err error) {
	wrong, ok := errors.AsType[*kong.ParseError](err)
	if ok && wrong.Context.Selected() != nil && slices.Contains(args, wrong.Context.Selected().Name) {
		parser.Stdout = out
		_ = wrong.Context.PrintUsage(true) // the complaint is printed already
		return
	}
	var names []string
	for _, n := range parser.Model.Leaves(true) {
		names = append(names, n.Name)
	}
	fmt.Fprintf(out, "The commands are %s.\n\nRun \"%s --help\" for more information.\n", strings.Join(names, ", "), parser.Model.Name)
}
