package config

import (
	"strings"
	"testing"
	"time"

	"fairlane/proxy"
)

// TestOwnTexts: what is not written stays English, all is listed, and a reload takes it.
func TestOwnTexts(t *testing.T) {
	c := parse(t, `queue_status: {after: 2s, language: {waiting: "Platz {position}, noch {time}", minutes: "{n} Min."}}`, nil)
	want := proxy.English()
	want.Waiting, want.Minutes = "Platz {position}, noch {time}", "{n} Min."
	check(t, "texts", want, c.Edge.QueueStatus.Texts)
	var b strings.Builder
	if err := c.Describe(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"* queue_status.after", "* queue_status.language.waiting", "  queue_status.language.restarting"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("%q is not in\n%s", line, b.String())
		}
	}
	next := parse(t, "queue_status: {after: 3s, language: zh}", nil)
	if later := c.Restart(next); len(later) > 0 || next.Edge.QueueStatus.After != 3*time.Second {
		t.Errorf("only a restart takes %v", later)
	}
	check(t, "what a reload takes", []string{
		"queue_status.after", "queue_status.language", "queue_status.language.hours", "queue_status.language.longer", "queue_status.language.minutes",
		"queue_status.language.no_estimate", "queue_status.language.restarting", "queue_status.language.seconds", "queue_status.language.waiting",
	}, c.Hot(next))
}
