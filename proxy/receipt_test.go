package proxy

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// kept are the receipts that an edge gave.
type kept struct{ began, ended []*scheduler.Receipt }

func (k *kept) Began(r *scheduler.Receipt) { k.began = append(k.began, r) }
func (k *kept) Ended(r *scheduler.Receipt) { k.ended = append(k.ended, r) }

// keeping makes a server that gives its receipts to k.
func keeping(t *testing.T, f *fakes, k *kept) *Server {
	t.Helper()
	s := f.server(t, Config{RecordAsked: true})
	s.deps.Receipts = k
	return s
}

// volatile are the fields that differ from run to run.
func volatile() cmp.Option {
	return cmpopts.IgnoreFields(scheduler.EdgeReceipt{}, "RequestID", "EndedAt")
}

func TestAReceiptSaysWhoAskedAndWhichRuleGaveWhat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, k := newFakes(), &kept{}
		rules, err := policy.New(policy.Config{
			Classes:      map[string]policy.Class{"standard": {Weight: 3, MaxWait: time.Minute}, "vip": {Weight: 8, MaxWait: time.Minute}},
			DefaultClass: "standard",
			Rules:        []policy.Rule{{When: policy.When{Email: []string{"ann@example.com"}}, Class: new("vip"), Weight: new(2.0)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.identify = func(*http.Request) (*identity.Identity, *scheduler.Problem) {
			return &identity.Identity{UserKey: "user:ann", ID: "7", Name: "Ann", Email: "ann@example.com", IP: "192.0.2.1", ChatID: "c1", Verified: true, AuthType: identity.AuthJWT}, nil
		}
		f.decide = rules.Decide
		f.answers(queued(3), granted(), head(200, "application/json"), data("{}"), end(scheduler.Completed))
		ask(keeping(t, f, k), "POST", chatPath, chatBody)
		if len(k.began) != 1 || len(k.ended) != 1 {
			t.Fatalf("%d began, %d ended", len(k.began), len(k.ended))
		}
		r := k.ended[0]
		want := &scheduler.EdgeReceipt{
			UserName: "Ann", Email: "ann@example.com", Model: "org/m", Endpoint: "chat", Size: "light", Sequences: 1,
			ClassFrom: "policy[0] email=ann@example.com", Weight: 2, WeightFrom: "policy[0] email=ann@example.com",
			MaxRunning: r.Edge.MaxRunning, MaxRunningFrom: "built-in rule", MaxWaitMS: 60_000,
			Outcome: scheduler.Completed, Status: 200, Backend: "gpu:8000", Attempts: 1, Granted: true, Usage: r.Edge.Usage, Cost: r.Edge.Cost,
		}
		if diff := cmp.Diff(want, r.Edge, volatile()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if r.User != "user:ann" || r.Chat != "c1" || r.Class != "vip" || r.Pool != "main" || k.began[0].Edge.Outcome != "" || k.began[0].Edge.RequestID != r.Edge.RequestID {
			t.Errorf("got %+v", r)
		}
		if a := r.Asked; a == nil || a.ID != "7" || a.Auth != "jwt" || a.Chars == 0 || a.Estimate == 0 {
			t.Errorf("asked: %+v", a)
		}
	})
}

// TestReceiptsOfRefusals: those of limits say which, those of the client's mistakes
// quote nothing, and what was no request of anybody has none.
func TestReceiptsOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, k := newFakes(), &kept{}
		s := keeping(t, f, k)
		f.take = func(*policy.Decision, Need) (Allowance, *scheduler.Problem) {
			p := scheduler.Refusal(scheduler.CodeRateLimit, scheduler.ReasonRequests, 12*time.Second, "You may send 30 requests a minute.")
			p.Limit = "30/minute"
			return Allowance{}, p
		}
		ask(s, "POST", chatPath, chatBody)
		ask(s, "POST", chatPath, `{"model":"my secret plan"}`)
		ask(s, "GET", "/v1/models", "")
		f.identify = func(*http.Request) (*identity.Identity, *scheduler.Problem) {
			return nil, scheduler.Problemf(scheduler.CodeInvalidAPIKey, "no")
		}
		ask(s, "POST", chatPath, chatBody)
		if len(k.began) != 0 || len(k.ended) != 2 {
			t.Fatalf("%d began, %d ended", len(k.began), len(k.ended))
		}
		e := k.ended[0].Edge
		if e.Outcome != scheduler.Refused || e.Status != 429 || e.Reason != scheduler.ReasonRequests || e.Limit != "30/minute" || e.RetryAfter != 12 || e.Message == "" || e.Granted {
			t.Errorf("the limit: %+v", e)
		}
		b, err := json.Marshal(k.ended)
		if err != nil || strings.Contains(string(b), "secret") || strings.Contains(string(b), `"hi"`) {
			t.Errorf("a receipt quotes the client: %s, %v", b, err)
		}
	})
}
