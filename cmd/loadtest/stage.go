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

// stage is fairlane in front of a vLLM, in this process.
type stage struct {
	app  *app.App
	gpu  string // URL of the vLLM
	stop func()
}

// raise starts an emulated vLLM and fairlane in front of it. text is the
// configuration, by the directory for data and the URL of the vLLM.
func raise(ctx context.Context, w *cli.World, gpu vllmsim.Config, text func(dir, backend string) string) (*stage, error) {
	sim, err := vllmsim.New(gpu)
	if err == nil {
		err = sim.Start("127.0.0.1:0")
	}
	if err != nil {
		return nil, err
	}
	s, err := front(ctx, w, "http://"+sim.Addr(), text)
	if err != nil {
		sim.Stop()
		return nil, err
	}
	lower := s.stop
	s.stop = func() { lower(); sim.Stop() }
	return s, nil
}

// front starts fairlane in front of a vLLM that is there.
func front(ctx context.Context, w *cli.World, gpu string, text func(dir, backend string) string) (*stage, error) {
	dir, err := os.MkdirTemp("", "fairlane-loadtest-")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "fairlane.yaml")
	if err := os.WriteFile(config, []byte(text(filepath.Join(dir, "data"), gpu)), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	a, err := app.New(app.Options{ConfigPath: config, Env: os.LookupEnv, Stdout: io.Discard, Stderr: w.Stderr})
	if err == nil {
		err = a.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &stage{app: a, gpu: gpu, stop: func() { a.Stop(); _ = os.RemoveAll(dir) }}, nil
}
