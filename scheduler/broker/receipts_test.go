package broker

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"
)

// TestReceiptsAreKeptForAll over either kind of NATS: in order, bounded in age and
// bytes, and after the stream was wiped.
func TestReceiptsAreKeptForAll(t *testing.T) {
	outside := startServer(t)
	for name, cfg := range map[string]Config{"embedded": {Store: StoreFile, Dir: t.TempDir()}, "outside": {URL: outside.url()}} {
		t.Run(name, func(t *testing.T) {
			b := openBroker(t, cfg)
			l, err := b.Receipts(t.Context(), time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			read := func(since time.Time, most int) []string {
				t.Helper()
				out := []string{}
				if err := l.Scan(t.Context(), since, func(data []byte) bool {
					out = append(out, string(data))
					return len(out) < most
				}); err != nil {
					t.Fatal(err)
				}
				return out
			}
			if got := read(time.Time{}, 9); len(got) != 0 {
				t.Errorf("found %q", got)
			}
			want := []string{}
			for i := range 3 * scanBatch {
				want = append(want, fmt.Sprint("piece ", i))
				if err := l.Append(t.Context(), []byte(want[i])); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(want, read(time.Time{}, 9999)); diff != "" {
				t.Errorf("all (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want[:2], read(time.Now().Add(-time.Minute), 2)); diff != "" {
				t.Errorf("two (-want +got):\n%s", diff)
			}
			if got := read(time.Now().Add(time.Minute), 9); len(got) != 0 {
				t.Errorf("from the future: %q", got)
			}
			s, err := b.js.Stream(t.Context(), receiptsStream)
			if err != nil {
				t.Fatal(err)
			}
			if c := s.CachedInfo().Config; c.MaxAge != time.Hour || c.MaxBytes != receiptsBytes || c.Discard != jetstream.DiscardOld {
				t.Errorf("the stream is not bounded: %+v", c)
			}
			if err := b.js.DeleteStream(t.Context(), receiptsStream); err != nil {
				t.Fatal(err)
			}
			if err := l.Append(t.Context(), []byte("again")); err != nil {
				t.Fatal(err)
			}
			if got := read(time.Time{}, 9); !cmp.Equal(got, []string{"again"}) {
				t.Errorf("after a wipe: %q", got)
			}
		})
	}
}
