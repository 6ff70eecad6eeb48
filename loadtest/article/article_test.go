package article

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestVerdict plays the scene before servers that stand it and that do not.
func TestVerdict(t *testing.T) {
	const wrong = `{"error":{"message":"no"}}`
	answer := func(status int, retry string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if retry != "" {
				w.Header().Set("Retry-After", retry)
			}
			w.WriteHeader(status)
			_, _ = w.Write([]byte(wrong))
		}
	}
	never := answer(http.StatusBadRequest, "")
	for _, tt := range []struct {
		name          string
		small, giants http.HandlerFunc
		want          bool
		table         string
	}{
		{"refuses", answer(429, "2"), never, true, `429 "no"`},
		{"refuses nothing", answer(200, ""), never, false, "×200"},
		{"does not say when", answer(429, ""), never, false, "DID NOT STAND"},
		{"lets all through", answer(429, "2"), answer(200, ""), false, "×200"},
		{"fails", answer(429, "2"), answer(500, ""), false, "2×500"},
		{"breaks off", answer(429, "2"), func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ContentLength > giantChars {
					tt.giants(w, r)
					return
				}
				tt.small(w, r)
			}))
			defer srv.Close()
			parts := Play(t.Context(), Config{Base: srv.URL, Burst: 4, Within: time.Millisecond, Scan: 12, Loops: 2, Giants: 2, Client: srv.Client()})
			var out strings.Builder
			if err := Table(&out, parts); err != nil {
				t.Fatal(err)
			}
			if got := Stood(parts); got != tt.want || !strings.Contains(out.String(), tt.table) {
				t.Errorf("stood: %v\n%s", got, &out)
			}
		})
	}
}
