package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"fairlane/cmd/internal/cli"
	"fairlane/proxy/admin"
)

type backendCmd struct {
	List   backendListCmd   `cmd:"" help:"Print the backends and how they stand."`
	Add    backendAddCmd    `cmd:"" help:"Give a pool one more backend, or take one back that was removed; it stays over restarts."`
	Drain  backendDrainCmd  `cmd:"" help:"Give a backend nothing new; it finishes what it runs, and stays listed."`
	Resume backendResumeCmd `cmd:"" help:"Let a backend that drains take requests again."`
	Remove backendRemoveCmd `cmd:"" help:"Drain a backend and forget it, until it is added again."`
}

type backendListCmd struct{ adminPort }

// Run prints a table.
func (c *backendListCmd) Run(w *cli.World) error {
	var pools map[string][]admin.Backend
	if err := c.read(w, "/api/v1/backends", &pools); err != nil {
		return err
	}
	return table(w.Stdout, "POOL\tBACKEND\tSTATE\tRUNNING\tSLOTS\tKV TOKENS", func(t io.Writer) {
		for _, name := range slices.Sorted(maps.Keys(pools)) {
			for _, b := range pools[name] {
				state := "up"
				if !b.Up {
					state = b.Detail
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\n", name, b.URL, state, b.Running, b.Slots, b.KVTokens)
			}
		}
	})
}

// oneBackend is a backend of a pool.
type oneBackend struct {
	adminPort

	URL  string `arg:"" help:"Its URL, like http://gpu-box:8000."`
	Pool string `help:"Its pool, where there are several."`
}

func (o *oneBackend) order(w *cli.World, path string) error {
	_, err := o.call(w, http.MethodPost, path, map[string]any{"pool": o.Pool, "url": o.URL})
	return err
}

type backendAddCmd struct {
	oneBackend

	Slots    int `help:"Sequences that run there at once; 0: found out."`
	KVTokens int `name:"kv-tokens" help:"Tokens that fit its KV cache; 0: as its metrics say."`
}

// Run adds it.
func (c *backendAddCmd) Run(w *cli.World) error {
	_, err := c.call(w, http.MethodPost, "/api/v1/backends", map[string]any{"pool": c.Pool, "url": c.URL, "slots": c.Slots, "kv_tokens": c.KVTokens})
	return err
}

type backendDrainCmd struct{ oneBackend }

// Run drains it.
func (c *backendDrainCmd) Run(w *cli.World) error { return c.order(w, "/api/v1/backends/drain") }

type backendResumeCmd struct{ oneBackend }

// Run takes that back.
func (c *backendResumeCmd) Run(w *cli.World) error { return c.order(w, "/api/v1/backends/resume") }

type backendRemoveCmd struct{ oneBackend }

// Run removes it.
func (c *backendRemoveCmd) Run(w *cli.World) error {
	q := url.Values{"url": {c.URL}}
	if c.Pool != "" {
		q.Set("pool", c.Pool)
	}
	_, err := c.call(w, http.MethodDelete, "/api/v1/backends?"+q.Encode(), nil)
	return err
}
