package app

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"fairlane/proxy/limit/redistest"
)

// TestAQuotaHoldsForSomebodyWhoNeverCame in every process, with the first request:
// set by redis-cli, and by the admin API of another one.
func TestAQuotaHoldsForSomebodyWhoNeverCame(t *testing.T) {
	a, b, db := twoOverRedis(t, redistest.Start(t))
	a.may("somebody", "1000") // both have looked through all that there is
	b.may("somebody", "1000")
	db.Set(t.Context(), "rate_limit:user:fresh", "2/hour", 0)
	if got := a.order(http.MethodPut, "/api/v1/quotas", map[string]string{"name": "user:New@Example.com", "limits": "2/hour"}); got.status != http.StatusNoContent {
		t.Fatal(got)
	}
	for _, who := range []string{"fresh", "new"} {
		granted := 0
		for i := range 20 {
			in := []*installation{a, b}[i%2]
			got := in.asks(who)
			if got.header.Get("X-Ratelimit-Limit-Requests") != "2" {
				t.Errorf("%s, request %d: %d, limit %q", who, i, got.status, got.header.Get("X-Ratelimit-Limit-Requests"))
			}
			if got.status != http.StatusTooManyRequests {
				granted++
			}
		}
		if granted != 2 {
			t.Errorf("%s: %d of 20 were granted", who, granted)
		}
	}
	db.Set(t.Context(), "rate_limit:user:Carol@Example.com", "2/hour", time.Hour)
	if got := a.order(http.MethodGet, "/api/v1/quotas", nil); !strings.Contains(got.body, "write rate_limit:user:carol@example.com") {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := a.order(http.MethodDelete, "/api/v1/quotas?name=user:nobody", nil); got.status != http.StatusNotFound || !strings.Contains(got.body, "user:nobody: there is no such quota") {
		t.Errorf("%d %s", got.status, got.body)
	}
}
