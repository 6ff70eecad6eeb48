package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"fairlane/cmd/internal/app"
	"fairlane/cmd/internal/cli"
	"fairlane/loadtest/vllmsim"
)

// stage is fairlane in front of an emulated vLLM, in this process.
type stage struct {
	app  *app.App
	gpu  string // URL of the emulated vLLM
	stop func()
}

// raise starts both. text is the configuration, by the directory for data and the
// URL of the emulated vLLM.
func raise(ctx context.Context, w *cli.World, gpu vllmsim.Config, text func(dir, backend string) string) (*stage, error) {
	dir, err := os.MkdirTemp("", "fairlane-loadtest-")
	if err != nil {
		return nil, err
	}
	sim, err := vllmsim.New(gpu)
	if err == nil {
		err = sim.Start("127.0.0.1:0")
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	config := filepath.Join(dir, "fairlane.yaml")
	fail := func(err error) (*stage, error) {
		sim.Stop()
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.WriteFile(config, []byte(text(filepath.Join(dir, "data"), "http://"+sim.Addr())), 0o600); err != nil {
		return fail(err)
	}
	a, err := app.New(app.Options{ConfigPath: config, Env: os.LookupEnv, Stdout: io.Discard, Stderr: w.Stderr})
	if err == nil {
		err = a.Start(ctx)
	}
	if err != nil {
		return fail(err)
	}
	return &stage{app: a, gpu: "http://" + sim.Addr(), stop: func() { a.Stop(); sim.Stop(); _ = os.RemoveAll(dir) }}, nil
}
