package arrivals

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func records(t *testing.T, text string) ([]Arrival, error) {
	t.Helper()
	var out []Arrival
	for a, err := range Read(strings.NewReader(text)) {
		if err != nil {
			return out, err
		}
		out = append(out, a)
	}
	return out, nil
}

func written(t *testing.T, all []Arrival) string {
	t.Helper()
	var b []byte
	var err error
	for i := range all {
		if b, err = Append(b, &all[i]); err != nil {
			t.Fatal(err)
		}
	}
	return string(b)
}

func twoOfThem() []Arrival {
	at := time.Date(2026, 11, 2, 9, 0, 0, 5, time.UTC)
	return []Arrival{
		{At: at, User: "user:a@example.com", Roles: []string{"admin"}, Stream: true, Class: "vip", Input: 5050, Cached: 5000, Output: 300, Prefix: 1 << 63, Wait: time.Second},
		{At: at.Add(time.Second), User: "ip:10.0.0.1", Auth: "anonymous", Endpoint: "embeddings", Input: 12},
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	want := twoOfThem()
	got, err := records(t, written(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestACutLineIsSkippedAtTheEndOnly(t *testing.T) {
	t.Parallel()
	want := twoOfThem()
	text := written(t, want)
	got, err := records(t, text+`{"at":"2026-11-02T0`)
	if err != nil {
		t.Fatalf("a last line that is cut: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := records(t, `{"at":"2026-11-02T0`+"\n"+text); !errors.Is(err, ErrRecord) {
		t.Errorf("a first line that is cut: %v", err)
	}
	if _, err := records(t, `{"in":3}`+"\n"+text); !errors.Is(err, ErrRecord) {
		t.Errorf("a line without a user: %v", err)
	}
}
