package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/cmd/internal/config"
	"fairlane/proxy/admin"
)

type backendCmd struct {
	List   backendListCmd   `cmd:"" help:"Print the backends and how they stand."`
	Add    backendAddCmd    `cmd:"" help:"Give a pool one more backend, or take one back that was removed; it stays over restarts."`
	Drain  backendDrainCmd  `cmd:"" help:"Give a backend nothing new; it finishes what it runs, and stays listed."`
	Resume backendResumeCmd `cmd:"" help:"Let a backend that drains take requests again."`
	Remove backendRemoveCmd `cmd:"" help:"Drain a backend and forget it, until it is added again."`
}

// adminPort says where it is and what opens it.
type adminPort struct {
	Admin  string `placeholder:"URL" help:"The admin port; by default the one of the configuration."`
	Token  string `placeholder:"TOKEN" help:"A token of admin.tokens, an operator's for changes; by default the configuration's first operator."`
	Config string `short:"c" type:"path" placeholder:"FILE" help:"The configuration, for the two above."`
}

const orderPatience = 10 * time.Second

// call asks the admin port, and answers what it says.
func (p adminPort) call(w *cli.World, method, path string, body any) ([]byte, error) {
	base, token, err := p.place(w)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(w.Ctx, orderPatience)
	defer cancel()
	var content io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, content)
	if err != nil {
		return nil, fmt.Errorf("--admin: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("the admin port does not answer, see --admin: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(answer)))
	}
	return answer, nil
}

func (p adminPort) place(w *cli.World) (base, token string, err error) {
	base, token = strings.TrimRight(p.Admin, "/"), p.Token
	if base != "" {
		return base, token, nil
	}
	cfg, err := config.Load(p.Config, w.Getenv)
	if err != nil {
		return "", "", err
	}
	if i := slices.IndexFunc(cfg.Admin.Tokens, func(t admin.Token) bool { return t.Role == admin.Operator }); token == "" && i >= 0 {
		token = cfg.Admin.Tokens[i].Token
	}
	return "http://" + local(cfg.Admin.Listen), token, nil
}

type backendListCmd struct{ adminPort }

// Run prints a table.
func (c *backendListCmd) Run(w *cli.World) error {
	b, err := c.call(w, http.MethodGet, "/api/v1/backends", nil)
	if err != nil {
		return err
	}
	var pools map[string][]admin.Backend
	if err := json.Unmarshal(b, &pools); err != nil {
		return fmt.Errorf("the admin port answers something else, see --admin: %w", err)
	}
	names := make([]string, 0, len(pools))
	for name := range pools {
		names = append(names, name)
	}
	slices.Sort(names)
	table := tabwriter.NewWriter(w.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "POOL\tBACKEND\tSTATE\tRUNNING\tSLOTS\tKV TOKENS")
	for _, name := range names {
		for _, b := range pools[name] {
			state := "up"
			if !b.Up {
				state = b.Detail
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%d\n", name, b.URL, state, b.Running, b.Slots, b.KVTokens)
		}
	}
	return table.Flush()
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
