package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/loadtest/article"
	"fairlane/loadtest/vllmsim"
)

type articleCmd struct {
	Config   string        `default:"deploy/examples/article.yaml" help:"The setting with limits."`
	Burst    int           `default:"100" help:"Requests of the script, within three seconds."`
	Scan     int           `default:"150" help:"Requests of the scan."`
	Loops    int           `default:"20" help:"Requests of each of three colleagues."`
	Speed    float64       `default:"10" help:"How much faster than the real GPU the emulated one is."`
	Deadline time.Duration `default:"4m" help:"When to give up."`
}

// rtx3060 is a small GPU that dies of what does not fit.
func (c *articleCmd) rtx3060() vllmsim.Config {
	return vllmsim.Config{Profile: "rtx3060-4bit", CrashOnOOM: true, Speed: c.Speed, PromptTokensDetails: true}
}

// Run plays the day twice, without limits and with them, and fails if the GPU does not
// crash without, or if fairlane does not stand it.
func (c *articleCmd) Run(w *cli.World) error {
	ctx, cancel := context.WithTimeout(w.Ctx, c.Deadline)
	defer cancel()
	setting, err := os.ReadFile(c.Config)
	if err != nil {
		return err
	}
	bare, err := c.without(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(w.Stdout, "An emulated RTX 3060 without fairlane:")
	if err := article.Table(w.Stdout, bare); err != nil {
		return err
	}
	behind, err := c.with(ctx, w, string(setting))
	if err != nil {
		return err
	}
	fmt.Fprintf(w.Stdout, "\nThe same behind fairlane with %s:\n", c.Config)
	if err := article.Table(w.Stdout, behind); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("it took longer than %s", c.Deadline)
	case article.Stood(bare):
		return errors.New("the GPU did not crash without fairlane: the scene shows nothing")
	case !article.Stood(behind):
		return errors.New("fairlane did not stand it: an answer is none of 200, 429 and 400, or nothing was refused")
	}
	fmt.Fprintln(w.Stdout, "\nVerdict: without fairlane the GPU crashed, with it nothing did; what was too much got 429, what can never fit 400.")
	return nil
}

func (c *articleCmd) scene(base string) article.Config {
	return article.Config{Base: base, Burst: c.Burst, Scan: c.Scan, Loops: c.Loops}
}

// without plays against the emulated vLLM itself.
func (c *articleCmd) without(ctx context.Context) ([]article.Part, error) {
	sim, err := vllmsim.New(c.rtx3060())
	if err != nil {
		return nil, err
	}
	if err := sim.Start("127.0.0.1:0"); err != nil {
		return nil, err
	}
	defer sim.Stop()
	return article.Play(ctx, c.scene("http://"+sim.Addr())), nil
}

// with plays against fairlane in front of another one.
func (c *articleCmd) with(ctx context.Context, w *cli.World, setting string) ([]article.Part, error) {
	s, err := raise(ctx, w, c.rtx3060(), func(dir, backend string) string {
		own := "listen: \"127.0.0.1:0\"\nadmin: {listen: \"127.0.0.1:0\"}\nlog: {level: error}\ndata_dir: " + strconv.Quote(dir) + "\n"
		return own + strings.ReplaceAll(setting, "${VLLM_URL:-http://127.0.0.1:8000}", backend)
	})
	if err != nil {
		return nil, err
	}
	defer s.stop()
	return article.Play(ctx, c.scene(s.app.EdgeURL())), nil
}
