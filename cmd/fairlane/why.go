package main

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/cmd/internal/why"
	"fairlane/proxy/admin"
)

type whyCmd struct {
	adminPort

	Who   string        `arg:"" help:"A request's id, a person (email, id, name or key of the log), or a conversation's id."`
	Last  time.Duration `placeholder:"1h" help:"Only what ended, waits or runs since then; by default as far back as is kept."`
	Limit int           `default:"5" help:"The newest so many."`
	JSON  bool          `name:"json" help:"Print the receipts as they are kept."`
}

// Run prints why requests waited.
func (c *whyCmd) Run(w *cli.World) error {
	if strings.TrimSpace(c.Who) == "" {
		return errors.New("whose requests? Name a request's id, a person, or a conversation's id")
	}
	list, err := c.find(w)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(w.Stdout, list)
	}
	if len(list.Receipts) == 0 {
		return fmt.Errorf("there is no receipt of %q: see --last, and history.receipts for how long they are kept", c.Who)
	}
	for i := range list.Receipts {
		if i > 0 {
			fmt.Fprintln(w.Stdout)
		}
		if err := why.Tell(w.Stdout, &list.Receipts[i], time.Now(), time.Local); err != nil {
			return err
		}
	}
	return nil
}

// find asks for what who can be: a person by its looks, else a request, a person or a
// conversation, whichever is there.
func (c *whyCmd) find(w *cli.World) (*admin.ReceiptList, error) {
	kinds := []string{"id", "user", "chat"}
	kind, _, named := strings.Cut(c.Who, ":")
	if strings.Contains(c.Who, "@") || named && (kind == "user" || kind == "key" || kind == "ip") {
		kinds = []string{"user"}
	}
	list := &admin.ReceiptList{}
	for _, kind := range kinds {
		q := url.Values{kind: {c.Who}, "limit": {strconv.Itoa(c.Limit)}}
		if c.Last > 0 {
			q.Set("last", c.Last.String())
		}
		if err := c.read(w, "/api/v1/receipts?"+q.Encode(), list); err != nil {
			return nil, err
		}
		if len(list.Receipts) > 0 {
			break
		}
	}
	return list, nil
}
