package doctor

import (
	"fmt"
	"slices"
	"strconv"

	"fairlane/proxy/admin"
)

// traffic says what has arrived of who is calling, so that somebody who has just
// connected Open WebUI sees it after the first chat.
func traffic(s *admin.Status) []Finding {
	if len(s.Identity.Traffic) == 0 && slices.Contains(s.Roles, "proxy") {
		return []Finding{{Hint, "callers", "no traffic yet, so what arrives with it is not known", "send a chat, from Open WebUI if that calls, and look again"}}
	}
	var out []Finding
	for _, t := range s.Identity.Traffic {
		out = append(out, Finding{OK, "callers through " + t.Forwarder, arrived(t), ""})
	}
	return out
}

func arrived(t admin.Traffic) string {
	seen := fmt.Sprintf("requests: %d, none with a forwarded identity", t.Requests)
	if t.Identity > 0 {
		seen = fmt.Sprintf("identity: %d of %d requests, groups: %s, task: %s, message id: %s",
			t.Identity, t.Requests, orNone(t.Groups), orNone(t.Task), orNone(t.Message))
	}
	if t.Unread > 0 {
		seen += fmt.Sprintf("; forwarded headers of %d are not believed", t.Unread)
	}
	return seen
}

func orNone(n int64) string {
	if n == 0 {
		return "none yet"
	}
	return strconv.FormatInt(n, 10)
}
