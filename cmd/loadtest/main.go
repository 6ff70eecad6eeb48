// Command loadtest puts load on an OpenAI-compatible server and says how it did.
// It sees HTTP only.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type cli struct {
	Overtake overtakeCmd `cmd:"" help:"One person floods the server, and then a VIP asks: who waits how long?"`
}

// world is what a command may touch; tests bring their own.
type world struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(&world{ctx: ctx, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is the whole command: 0 is success, 1 a failure, 2 a wrong use.
func run(w *world, args []string) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c, kong.Name("loadtest"), kong.Writers(w.stdout, w.stderr), kong.Exit(func(code int) { exited = code }),
		kong.Description("Puts load on an OpenAI-compatible server, on loopback, for a bounded time."), kong.Bind(w), kong.UsageOnError())
	if err != nil {
		fmt.Fprintln(w.stderr, "loadtest:", err)
		return 2
	}
	parsed, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		fmt.Fprintln(w.stderr, "loadtest:", err)
		return 2
	}
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(w.stderr, "loadtest:", err)
		return 1
	}
	return 0
}
