package config

import (
	"math"
	"regexp"
	"strconv"
	"time"

	"fairlane/proxy/refusals"
)

// Alert tells somebody when a user is refused too often.
type Alert struct{ When, To, URL string }

// longestWindow is how long refusals are counted at most.
const longestWindow = 31 * day

// condition is what `when` may say: more than so many in such a time.
func condition(s string) (over int, window time.Duration, ok bool) {
	m := regexp.MustCompile(`^refusals_per_user *> *([0-9]+) +in +([0-9a-z.]+)$`).FindStringSubmatch(s)
	if m == nil {
		return 0, 0, false
	}
	over, err := strconv.Atoi(m[1])
	if err != nil || over > math.MaxInt32 {
		return 0, 0, false
	}
	window, err = parseDuration(m[2])
	return over, window, err == nil && window >= time.Minute && window <= longestWindow
}

func (c *Config) alerts(s *section) {
	items, _ := s.items("alerts")
	c.Alerts = make([]Alert, len(items))
	for i, item := range items {
		a := &c.Alerts[i]
		take(item, "when", &a.When, checked(`a condition like "refusals_per_user > 50 in 1h", of 1m to 31d`, func(s string) bool {
			_, _, ok := condition(s)
			return ok
		}))
		take(item, "to", &a.To, word(refusals.ToWeCom, refusals.ToFeishu, refusals.ToDingTalk, refusals.ToSlack, refusals.ToWebhook))
		target := secret() // whoever knows it may write there
		target.want, target.parse = "a URL like https://hooks.example.com/…", webURL("").parse
		take(item, "url", &a.URL, target)
		item.done()
		for _, key := range []string{"when", "to", "url"} {
			if !item.has(key) {
				s.fault(item.path, "%s is missing", key)
			}
		}
	}
}

// Told is the alert as whoever sends it wants it.
func (a Alert) Told() refusals.Alert {
	over, window, _ := condition(a.When)
	return refusals.Alert{Over: over, Window: window, To: a.To, URL: a.URL, Name: a.When}
}
