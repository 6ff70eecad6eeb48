package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/cmd/internal/config"
	"fairlane/proxy/admin"
)

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

// read asks the admin port and reads its answer into out.
func (p adminPort) read(w *cli.World, path string, out any) error {
	b, err := p.call(w, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("the admin port answers something else, see --admin: %w", err)
	}
	return nil
}

func (p adminPort) place(w *cli.World) (base, token string, err error) {
	base, token = strings.TrimRight(p.Admin, "/"), p.Token
	if base != "" && (token != "" || p.Config == "") { // a token goes where the configuration is named for it
		return base, token, nil
	}
	cfg, err := config.Load(p.Config, w.Getenv)
	if err != nil {
		return "", "", err
	}
	if i := slices.IndexFunc(cfg.Admin.Tokens, func(t admin.Token) bool { return t.Role == admin.Operator }); token == "" && i >= 0 {
		token = cfg.Admin.Tokens[i].Token
	}
	return cmp.Or(base, "http://"+local(cfg.Admin.Listen)), token, nil
}

// printJSON is for programs, and for people who look at it.
func printJSON(out io.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table prints rows under a head.
func table(out io.Writer, head string, rows func(io.Writer)) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	rows(t)
	return t.Flush()
}
