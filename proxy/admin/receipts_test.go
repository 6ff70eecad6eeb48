package admin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"fairlane/scheduler"
)

// finder answers with what a test wants, and remembers what it was asked.
type finder struct {
	asked []ReceiptQuery
	found []scheduler.Receipt
	err   error
}

func (f *finder) Find(_ context.Context, q ReceiptQuery) ([]scheduler.Receipt, error) {
	f.asked = append(f.asked, q)
	return f.found, f.err
}

func TestReceiptsAreForOperators(t *testing.T) {
	f := &finder{found: []scheduler.Receipt{{CallID: "c1", Pool: "main"}}}
	s, err := New(Config{
		Listen: ":0", Gatherer: prometheus.NewRegistry(), Status: func() Status { return Status{} }, Receipts: f,
		Tokens: []Token{{Name: "ops", Token: "s3cret", Role: Operator}, {Name: "wall", Token: "look", Role: Viewer}},
	})
	if err != nil {
		t.Fatal(err)
	}
	const ops = "Bearer s3cret"
	for path, want := range map[string]int{
		"/api/v1/receipts": 200, "/api/v1/receipts/c1": 200, "/api/v1/receipts?last=soon": 400, "/api/v1/receipts?last=-1h": 400,
		"/api/v1/receipts?limit=0": 400, "/api/v1/receipts?user=a&chat=b": 400,
	} {
		if code, body := ask(t, s, path, "box.lan", ops); code != want {
			t.Errorf("%s: %d %s, want %d", path, code, body, want)
		}
		if code, _ := ask(t, s, path, "box.lan", "Bearer look"); code != 403 {
			t.Errorf("%s for a viewer: %d", path, code)
		}
	}
	f.asked = nil
	_, body := ask(t, s, "/api/v1/receipts?user=ann@example.com&last=90m&limit=3", "box.lan", ops)
	ask(t, s, "/api/v1/receipts/req%2F1", "box.lan", ops)
	want := []ReceiptQuery{{User: "ann@example.com", Last: 90 * time.Minute, Limit: 3}, {ID: "req/1", Limit: mostOfOneID}}
	if diff := cmp.Diff(want, f.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	var list ReceiptList
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Receipts) != 1 || list.Receipts[0].CallID != "c1" {
		t.Errorf("answered %s: %v", body, err)
	}
	f.found = nil
	if code, body := ask(t, s, "/api/v1/receipts/c9", "box.lan", ops); code != 404 || !strings.Contains(body, "history.receipts") {
		t.Errorf("an unknown request: %d %s", code, body)
	}
	f.err = errors.New("the store is away")
	if code, _ := ask(t, s, "/api/v1/receipts", "box.lan", ops); code != 503 {
		t.Errorf("without the store: %d", code)
	}
	s.cfg.Receipts = nil
	if code, _ := ask(t, s, "/api/v1/receipts", "box.lan", ops); code != 404 {
		t.Errorf("where none are kept: %d", code)
	}
}
