package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/proxy/admin"
)

type refusedCmd struct {
	adminPort

	Top  int  `default:"20" help:"How many people, those with the most refusals first."`
	JSON bool `name:"json" help:"Print what the admin API answers."`
}

// Help is what the command's help says under its line.
func (refusedCmd) Help() string {
	return "Counted are refusals with status 429, by all processes together: of limits, and of the bounds of one person. The reason and the limit are those of the last one."
}

// Run prints who was refused most.
func (c *refusedCmd) Run(w *cli.World) error {
	var list admin.RefusedList
	if err := c.read(w, "/api/v1/refusals?n="+strconv.Itoa(c.Top), &list); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(w.Stdout, list)
	}
	if len(list.Users) == 0 {
		_, err := fmt.Fprintf(w.Stdout, "Nobody was refused in the last %s.\n", list.Window)
		return err
	}
	return table(w.Stdout, "REFUSED IN "+list.Window+"\tWHO\tNAME\tREASON\tLIMIT\tLAST", func(t io.Writer) {
		for _, u := range list.Users {
			name := u.UserName
			if name == "" {
				name = u.Email
			}
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", u.Refusals, shown(u.UserKey), shown(name), u.Reason, shown(u.Limit), u.Last.Local().Format(time.TimeOnly))
		}
	})
}

// shown is a text of somebody else's on a terminal: without what would move its cursor.
func shown(s string) string {
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
