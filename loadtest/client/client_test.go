package client

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPeopleAreToldApart(t *testing.T) {
	t.Parallel()
	type seen struct {
		Type, ID, Email, Role, Groups string
		Body                          map[string]any
	}
	got := make(chan seen, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := seen{Type: r.Header.Get("Content-Type"), ID: r.Header.Get("X-OpenWebUI-User-Id"), Email: r.Header.Get("X-OpenWebUI-User-Email"), Role: r.Header.Get("X-OpenWebUI-User-Role"), Groups: r.Header.Get("X-User-Groups")}
		if err := json.NewDecoder(r.Body).Decode(&x.Body); err != nil {
			t.Error(err)
		}
		got <- x
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, "not now\n")
	}))
	defer s.Close()
	body := map[string]any{"messages": []any{map[string]any{"role": "user", "content": "What is a queue?"}}}
	for _, x := range []struct {
		who  Person
		want seen
	}{
		{Person{}, seen{Type: "application/json", Body: body}},
		{Person{Name: "ann", Role: "admin", Groups: []string{"vip", "staff"}}, seen{"application/json", "ann", "ann@example.com", "admin", "vip,staff", body}},
	} {
		resp, err := Post(t.Context(), New(1), s.URL, x.who, map[string]any{"messages": Chat("What is a queue?")})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(x.want, <-got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if err := Refusal(resp); err.Error() != "status 429: not now" {
			t.Error(err)
		}
		resp.Body.Close()
	}
}
