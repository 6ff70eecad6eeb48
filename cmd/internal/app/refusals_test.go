package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// TestAnAdministratorHearsOfWhoIsRefused asks beyond a limit: the list of the admin
// port and a webhook name the person.
func TestAnAdministratorHearsOfWhoIsRefused(t *testing.T) {
	var told atomic.Value
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		told.Store(string(body))
	}))
	t.Cleanup(hook.Close)
	m := newModel(t, whole)
	in := install(t, m.pool(4)+`
policy: [{limits: "1/hour"}]
queue_status: {language: zh}
alerts: [{when: "refusals_per_user > 1 in 1h", to: webhook, url: "`+hook.URL+`/s3cret"}]
`)
	in.ready()
	ask := func() answer {
		return in.post("/v1/chat/completions", chatOf("x"), "X-OpenWebUI-User-Id", "u1", "X-OpenWebUI-User-Email", "ann@example.com", "X-OpenWebUI-User-Name", "Ann")
	}
	ask()
	for range 2 {
		if a := ask(); a.status != http.StatusTooManyRequests || !strings.Contains(a.body, "您每小时最多发送 1 个请求") || a.header.Get("X-Should-Retry") != "false" {
			t.Fatalf("%d %v %s", a.status, a.header, a.body)
		}
	}
	in.until("the webhook is told", func() bool { return told.Load() != nil })
	if got := told.Load().(string); !strings.Contains(got, `"user_key":"user:ann@example.com","user_name":"Ann","email":"ann@example.com","refusals":2`) {
		t.Errorf("the webhook was told %s", got)
	}
	top := get(t, in.app.AdminURL()+"/api/v1/refusals?n=5")
	if top.status != http.StatusOK || !strings.Contains(top.body, `{"window":"1h","users":[{"user_key":"user:ann@example.com"`) {
		t.Errorf("the admin port answers %d %s", top.status, top.body)
	}
	if bad := get(t, in.app.AdminURL()+"/api/v1/refusals?n=0"); bad.status != http.StatusBadRequest {
		t.Errorf("n=0 is answered %d", bad.status)
	}
	in.until("the alert is counted", func() bool { return in.metric(`fairlane_alerts_total{outcome="sent",to="webhook"}`) == "1" })
	if strings.Contains(in.log.String(), "s3cret") {
		t.Error("the log holds the URL")
	}
}
