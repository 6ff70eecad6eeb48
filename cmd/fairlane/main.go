// Command fairlane is a priority-queueing scheduler in front of vLLM.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type cli struct {
	Serve       serveCmd       `cmd:"" default:"withargs" help:"Serve: the edge, the queue and the workers, all in one process or a part of them."`
	CheckConfig checkConfigCmd `cmd:"" help:"Check a configuration file and print what it means."`
	Token       tokenCmd       `cmd:"" help:"Mint a signed JWT for a test."`
	Doctor      doctorCmd      `cmd:"" help:"Look at a running installation and say what to change."`
	Emulate     emulateCmd     `cmd:"" help:"Serve an emulated vLLM, without a GPU."`
	Version     versionCmd     `cmd:"" help:"Print the version."`
}

// world is what a command may touch; tests bring their own.
type world struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
	getenv func(string) (string, bool)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(&world{ctx: ctx, stdout: os.Stdout, stderr: os.Stderr, getenv: os.LookupEnv}, os.Args[1:])
	stop()
	os.Exit(code)
}

// errShown ends a command whose complaint was already printed.
var errShown = errors.New("see above")

// run is the whole command: 0 is success, 1 a failure, 2 a wrong use.
func run(w *world, args []string) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("fairlane"), kong.Writers(w.stdout, w.stderr), kong.Exit(func(code int) { exited = code }),
		kong.Description("Puts fair queues in front of vLLM: classes and people share the GPU by weight."), kong.Bind(w), kong.UsageOnError())
	if err != nil {
		fmt.Fprintln(w.stderr, "fairlane:", err)
		return 2
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(w.stderr, "fairlane:", err)
		return 2
	}
	if err := parsed.Run(); err != nil {
		if !errors.Is(err, errShown) {
			fmt.Fprintln(w.stderr, "fairlane:", err)
		}
		return 1
	}
	return 0
}
