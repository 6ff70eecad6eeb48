package article

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Stood reports whether the server stood all of it: in every part only the answers
// that limits give, overflow refused, and what can never fit told so.
func Stood(parts []Part) bool {
	refused, never := 0, 0
	for i := range parts {
		if !parts[i].stood() {
			return false
		}
		refused += parts[i].Statuses[http.StatusTooManyRequests]
		never += parts[i].Statuses[http.StatusBadRequest]
	}
	return refused > 0 && never > 0
}

// Table writes what came of the parts.
func Table(out io.Writer, parts []Part) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "part\tanswers\ttimeouts\tbroken\t")
	for i := range parts {
		p := &parts[i]
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%s\n", p.Name, answers(p.Statuses), p.Timeouts, p.Broken, map[bool]string{true: "stood", false: "DID NOT STAND"}[p.stood()])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range parts {
		for status, text := range map[int]string{http.StatusTooManyRequests: parts[i].Said, http.StatusBadRequest: parts[i].Never} {
			if text != "" {
				fmt.Fprintf(out, "%s: %d %q\n", parts[i].Name, status, text)
			}
		}
	}
	return nil
}

func answers(statuses map[int]int) string {
	var out []string
	for _, status := range slices.Sorted(maps.Keys(statuses)) {
		out = append(out, strconv.Itoa(statuses[status])+"×"+strconv.Itoa(status))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, " ")
}
