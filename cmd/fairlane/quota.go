package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/proxy/admin"
	"fairlane/proxy/limit/quota"
)

type quotaCmd struct {
	Get   quotaGetCmd   `cmd:"" help:"Print what is in force for somebody, where it comes from, and how much is left."`
	Set   quotaSetCmd   `cmd:"" help:"Set limits that beat every rule, within a second, until they are unset."`
	Boost quotaBoostCmd `cmd:"" help:"Set limits for a time."`
	Unset quotaUnsetCmd `cmd:"" help:"Let the rules hold again."`
	List  quotaListCmd  `cmd:"" help:"Print all limits that are set."`
	Audit quotaAuditCmd `cmd:"" help:"Print who changed what, the newest last."`
}

// subject names whom limits are for.
type subject struct {
	Who  string `arg:"" help:"An id or an email, key:ID, group:NAME or role:NAME."`
	Size string `enum:",light,medium,heavy" default:"" help:"Only for the requests of one size: light, medium or heavy."`
}

// name is the override's.
func (s subject) name() string {
	name := s.Who
	if !strings.Contains(name, ":") {
		name = quota.User + ":" + name
	}
	if s.Size != "" {
		name += ":" + s.Size
	}
	return name
}

type quotaGetCmd struct {
	adminPort

	Who string `arg:"" help:"An id or an email, key:ID, group:NAME or role:NAME."`
}

// Run prints what is in force.
func (c *quotaGetCmd) Run(w *cli.World) error {
	var q quota.InForce
	if err := c.read(w, "/api/v1/quotas?of="+url.QueryEscape(c.Who), &q); err != nil {
		return err
	}
	if q.UserKey == "" {
		return tellAll(w, &q)
	}
	fmt.Fprintf(w.Stdout, "%s", q.UserKey)
	if q.Name != "" && !strings.HasSuffix(q.UserKey, ":"+q.Name) {
		fmt.Fprintf(w.Stdout, " (%s)", q.Name)
	}
	if len(q.Roles) > 0 {
		fmt.Fprintf(w.Stdout, ", roles %s", strings.Join(q.Roles, ", "))
	}
	if len(q.Groups) > 0 {
		fmt.Fprintf(w.Stdout, ", groups %s", strings.Join(q.Groups, ", "))
	}
	fmt.Fprintln(w.Stdout)
	if !q.Known {
		fmt.Fprintln(w.Stdout, "Not seen lately: what rules give to roles and groups is not known here.")
	}
	if len(q.Buckets) == 0 {
		fmt.Fprintln(w.Stdout, "No limit is in force.")
		return nil
	}
	return table(w.Stdout, "OF\tLIMIT\tLEFT\tFULL IN\tFROM", func(t io.Writer) {
		for _, b := range q.Buckets {
			for _, l := range b.Levels {
				reset := time.Duration(l.ResetSeconds * float64(time.Second)).Round(time.Second)
				fmt.Fprintf(t, "%s\t%s\t%d of %d\t%v\t%s\n", b.Of, l.Limit, l.Remaining, l.Most, reset, b.From+followed(&b))
			}
		}
	})
}

// tellAll prints what is set for a group or a role.
func tellAll(w *cli.World, q *quota.InForce) error {
	o := q.Override
	if o == nil {
		fmt.Fprintf(w.Stdout, "%s has no quota: the rules hold.\n", q.Who)
		return nil
	}
	until, wrong := untilWhen(o), wrongWith(o)
	if until != "" {
		until = " until " + until
	}
	if wrong != "" {
		wrong = " (" + wrong + ")"
	}
	fmt.Fprintf(w.Stdout, "%s: each may send %s%s%s, unless something is set for the person or the key.\n", q.Who, o.Limits, until, wrong)
	return nil
}

func untilWhen(o *quota.Override) string {
	if o.Until.IsZero() {
		return ""
	}
	return o.Until.Local().Format(time.DateTime)
}

// wrongWith says why an override is kept out.
func wrongWith(o *quota.Override) string {
	switch {
	case o.Error == "":
		return ""
	case o.Held == "":
		return "kept out: " + o.Error
	default:
		return "kept out: " + o.Error + "; held: " + o.Held
	}
}

// followed says what the load makes of a limit.
func followed(b *quota.BucketStatus) string {
	if b.Written == "" {
		return ""
	}
	return fmt.Sprintf(", %.3g times %s as written, for the load", b.Factor, b.Written)
}

type quotaSetCmd struct {
	adminPort
	subject

	Limits string `arg:"" help:"As in 200/minute, or 5/second; 100/hour burst 20."`
}

// Run sets limits.
func (c *quotaSetCmd) Run(w *cli.World) error {
	if _, err := c.call(w, http.MethodPut, "/api/v1/quotas", admin.QuotaOrder{Name: c.name(), Limits: c.Limits}); err != nil {
		return err
	}
	fmt.Fprintf(w.Stdout, "%s may send %s from now on, in every process within a second.\n", c.name(), c.Limits)
	return nil
}

type quotaBoostCmd struct {
	adminPort
	subject

	Limits string        `arg:"" help:"As in 200/minute."`
	For    time.Duration `arg:"" help:"As in 30m or 2h."`
}

// Run sets limits that end.
func (c *quotaBoostCmd) Run(w *cli.World) error {
	if _, err := c.call(w, http.MethodPut, "/api/v1/quotas", admin.QuotaOrder{Name: c.name(), Limits: c.Limits, For: c.For.String()}); err != nil {
		return err
	}
	fmt.Fprintf(w.Stdout, "%s may send %s for %v.\n", c.name(), c.Limits, c.For)
	return nil
}

type quotaUnsetCmd struct {
	adminPort
	subject
}

// Run deletes limits.
func (c *quotaUnsetCmd) Run(w *cli.World) error {
	if _, err := c.call(w, http.MethodDelete, "/api/v1/quotas?name="+url.QueryEscape(c.name()), nil); err != nil {
		return err
	}
	fmt.Fprintf(w.Stdout, "%s has what the rules say again.\n", c.name())
	return nil
}

type quotaListCmd struct{ adminPort }

// Run prints all overrides.
func (c *quotaListCmd) Run(w *cli.World) error {
	var all []quota.Override
	if err := c.read(w, "/api/v1/quotas", &all); err != nil {
		return err
	}
	return table(w.Stdout, "WHO\tLIMITS\tUNTIL\t", func(t io.Writer) {
		for _, o := range all {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", o.Name, o.Limits, untilWhen(&o), wrongWith(&o))
		}
	})
}

type quotaAuditCmd struct {
	adminPort

	Last int `default:"100" help:"How many changes."`
}

// Run prints the audit log.
func (c *quotaAuditCmd) Run(w *cli.World) error {
	var all []quota.Change
	if err := c.read(w, "/api/v1/audit?last="+strconv.Itoa(c.Last), &all); err != nil {
		return err
	}
	return table(w.Stdout, "WHEN\tWHO\tWHAT\tOLD\tNEW\tUNTIL", func(t io.Writer) {
		for _, o := range slices.Backward(all) {
			until := ""
			if !o.Until.IsZero() {
				until = o.Until.Local().Format(time.DateTime)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%q\t%q\t%s\n", o.At.Local().Format(time.DateTime), o.Who, o.What, o.Old, o.New, until)
		}
	})
}
