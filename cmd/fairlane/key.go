package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/cmd/internal/config"
	"fairlane/cmd/internal/keyfile"
	"fairlane/proxy/identity"
)

type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Make a key, print it once, and store its hash."`
	List   keyListCmd   `cmd:"" help:"Print whose the keys are, and until when."`
	Revoke keyRevokeCmd `cmd:"" help:"Take a key out."`
}

// keyFile says which file it is.
type keyFile struct {
	File   string `type:"path" placeholder:"FILE" help:"The key file; by default the one that the configuration names."`
	Config string `short:"c" type:"path" placeholder:"FILE" help:"The configuration, which names the key file in identity.api_keys.file."`
}

func (k keyFile) open(w *cli.World) (keyfile.File, error) {
	path := k.File
	if path == "" {
		if k.Config == "" {
			return keyfile.File{}, errors.New("name the key file with --file, or the configuration with --config")
		}
		var err error
		if path, err = config.KeyFileOf(k.Config, w.Getenv); err != nil {
			return keyfile.File{}, err
		}
	}
	if path == "" {
		return keyfile.File{}, fmt.Errorf("%s has no identity.api_keys.file: set it, so that keys are asked for", k.Config)
	}
	return keyfile.File{Path: path, Env: w.Getenv}, nil
}

type keyCreateCmd struct {
	keyFile

	ID        string   `required:"" help:"What the key is called in logs and rules: letters, digits and . _ @ : -"`
	User      string   `help:"Whose it is, an id or an email; without one the key stands for itself."`
	Email     string   `help:"Their email, by which they are the same person whichever way they come."`
	Name      string   `help:"Their name, for people."`
	Roles     []string `help:"Roles, by commas."`
	Groups    []string `help:"Groups, by commas."`
	Expires   string   `help:"When it ends: 2027-01-01, 2027-01-01T12:00:00Z, or after a time, as 90d or 12h."`
	Forwarder bool     `help:"For Open WebUI: the key is nobody's, and is believed about who sits behind it."`
}

// Run prints the key and nothing else, so that a shell can take it.
func (c *keyCreateCmd) Run(w *cli.World) error {
	file, err := c.open(w)
	if err != nil {
		return err
	}
	expires, err := config.ParseExpiry(c.Expires, time.Now())
	if err != nil {
		return err
	}
	key, err := file.Create(identity.Key{
		ID: c.ID, User: c.User, Email: c.Email, Name: c.Name, Roles: c.Roles, Groups: c.Groups, Expires: expires, Forwarder: c.Forwarder,
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w.Stdout, key)
	return err
}

type keyListCmd struct{ keyFile }

// Run prints a table.
func (c *keyListCmd) Run(w *cli.World) error {
	file, err := c.open(w)
	if err != nil {
		return err
	}
	keys, err := file.List()
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(w.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tWHOSE\tROLES\tGROUPS\tEXPIRES")
	for _, k := range keys {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", k.ID, whose(k), strings.Join(k.Roles, ","), strings.Join(k.Groups, ","), until(k.Expires, time.Now()))
	}
	return t.Flush()
}

func whose(k identity.Key) string {
	switch {
	case k.Forwarder:
		return "(forwarder)"
	case k.Email != "" && k.User != "":
		return k.User + " " + k.Email
	default:
		return k.User + k.Email
	}
}

func until(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "never"
	case !now.Before(t):
		return t.UTC().Format(time.RFC3339) + " (expired)"
	default:
		return t.UTC().Format(time.RFC3339)
	}
}

type keyRevokeCmd struct {
	keyFile

	ID string `arg:"" help:"The key's id."`
}

// Run says what it did.
func (c *keyRevokeCmd) Run(w *cli.World) error {
	file, err := c.open(w)
	if err != nil {
		return err
	}
	if err := file.Revoke(c.ID); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.Stdout, "%s is revoked\n", c.ID)
	return err
}
