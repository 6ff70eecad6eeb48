package proxy

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWhatGoesToABackendIsACopy: else who waits would hold all headers of the client,
// which net/http keeps in one piece.
func TestWhatGoesToABackendIsACopy(t *testing.T) {
	values := []string{"application/json", "Bearer x"}
	got := toBackend(http.Header{"Content-Type": values[0:1:1], "Authorization": values[1:2:2]})
	values[0] = "text/plain"
	if diff := cmp.Diff(http.Header{"Content-Type": {"application/json"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
