package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/admin"
	"fairlane/scheduler"
)

// TestWhyFindsWhoIsMeant: a person by its looks, else a request, a person or a
// conversation, whichever is there.
func TestWhyFindsWhoIsMeant(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		list := admin.ReceiptList{Receipts: []scheduler.Receipt{}}
		if q := r.URL.Query(); q.Get("chat") == "talk" || q.Get("user") == "ann@example.com" || q.Get("id") == "r1" {
			list.Receipts = append(list.Receipts, scheduler.Receipt{
				CallID: "c1", At: time.Now(), Class: "vip", User: "user:ann@example.com",
				Edge: &scheduler.EdgeReceipt{RequestID: "r1", UserName: "Ann", Outcome: scheduler.Completed, Granted: true, WaitMS: 2500, EndedAt: time.Now()},
			})
		}
		_ = json.NewEncoder(w).Encode(list)
	}))
	defer s.Close()
	for who, want := range map[string][]string{
		"r1":              {"id=r1&limit=5"},
		"ann@example.com": {"limit=5&user=ann%40example.com"},
		"talk":            {"id=talk&limit=5", "limit=5&user=talk", "chat=talk&limit=5"},
	} {
		asked = nil
		code, out, complaint := try(t, nil, "why", who, "--admin", s.URL)
		if diff := cmp.Diff(want, asked); diff != "" || code != 0 {
			t.Errorf("%s: exit %d %s (-want +got):\n%s", who, code, complaint, diff)
		}
		if !strings.Contains(out, "Request r1 of Ann") || !strings.Contains(out, "It waited 2.5 s for its turn") {
			t.Errorf("%s: %s", who, out)
		}
	}
	code, out, _ := try(t, nil, "why", "r1", "--json", "--last", "90m", "--admin", s.URL)
	var list admin.ReceiptList
	if err := json.Unmarshal([]byte(out), &list); err != nil || code != 0 || len(list.Receipts) != 1 || asked[len(asked)-1] != "id=r1&last=1h30m0s&limit=5" {
		t.Errorf("exit %d: %s, %v; asked %q", code, out, err, asked)
	}
	if code, out, complaint := try(t, nil, "why", " ", "--admin", s.URL); code != 1 || out != "" || !strings.Contains(complaint, "whose requests") {
		t.Errorf("of nobody in particular: %d %q %q", code, out, complaint)
	}
	if code, _, complaint := try(t, nil, "why", "nobody", "--admin", s.URL); code != 1 || !strings.Contains(complaint, "history.receipts") {
		t.Errorf("exit %d: %s", code, complaint)
	}
}
