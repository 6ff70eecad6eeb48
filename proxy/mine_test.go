package proxy

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/proxy/identity"
	"fairlane/scheduler"
)

// TestQueueOfMine: everybody sees their own, of all pools, also if one does not answer.
func TestQueueOfMine(t *testing.T) {
	t.Parallel()
	has := map[string][]scheduler.Listed{
		"main user:ann": {
			{ID: "a1", Model: "org/m", Class: "vip", Running: true, Waited: 1234 * time.Millisecond},
			{ID: "a2", Model: "org/m", Class: "vip", Waited: 2 * time.Second, Position: 1, ETA: 12340 * time.Millisecond},
			{ID: "a3", Model: "org/m", Class: "vip", Position: 7},
		},
		"main user:bob": {{ID: "b1", Model: "org/m", Class: "standard", Position: 2, NoBackend: true, ETA: time.Second}},
	}
	running := `{"id":"a1","object":"queue.request","pool":"main","model":"org/m","class":"vip","state":"running","position":null,"eta_seconds":null,"waited_seconds":1.2}`
	tests := []struct {
		name, user, want string
	}{
		{"ann", "user:ann", `{"object":"list","data":[` + running + `,` +
			`{"id":"a2","object":"queue.request","pool":"main","model":"org/m","class":"vip","state":"waiting","position":1,"eta_seconds":12.3,"waited_seconds":2},` +
			`{"id":"a3","object":"queue.request","pool":"main","model":"org/m","class":"vip","state":"waiting","position":7,"eta_seconds":null,"waited_seconds":0}],"unknown":["ice"]}`},
		{"bob", "user:bob", `{"object":"list","data":[{"id":"b1","object":"queue.request","pool":"main","model":"org/m","class":"standard","state":"no_backend","position":2,"eta_seconds":null,"waited_seconds":0}],"unknown":["ice"]}`},
		{"somebody who has nothing", "user:eve", `{"object":"list","data":[],"unknown":["ice"]}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				f.catalog = NewCatalog([]Offer{{Pool: "main", Models: []scheduler.Model{{ID: "org/m"}}}, {Pool: "ice"}})
				f.identify = func(*http.Request) (*identity.Identity, *scheduler.Problem) {
					return &identity.Identity{UserKey: tt.user}, nil
				}
				f.list = func(ctx context.Context, pool, user string) ([]scheduler.Listed, error) {
					if pool == "ice" {
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return has[pool+" "+user], nil
				}
				c, _ := start(t, f.server(t, Config{}))
				began := time.Now()
				resp, err := c.Get("http://edge/v1/queue")
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if diff := cmp.Diff(tt.want, readAll(t, resp.Body)); diff != "" || resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%d %v -want +got\n%s", resp.StatusCode, resp.Header, diff)
				}
				if took := time.Since(began); took != listTimeout {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestQueueOfMineIsForWhoMayCall: a bad key is told nothing, and other methods do not exist.
func TestQueueOfMineIsForWhoMayCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		c, _ := start(t, f.server(t, Config{}))
		resp := post(t, c, "/v1/queue", "{}")
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST: %d", resp.StatusCode)
		}
		f.identify = func(*http.Request) (*identity.Identity, *scheduler.Problem) {
			return nil, scheduler.Problemf(scheduler.CodeInvalidAPIKey, "no such key")
		}
		bad, err := c.Get("http://edge/v1/queue")
		if err != nil {
			t.Fatal(err)
		}
		defer bad.Body.Close()
		if code, _, _ := errorOf(t, readAll(t, bad.Body)); bad.StatusCode != http.StatusUnauthorized || code != "invalid_api_key" {
			t.Errorf("a bad key: %d %s", bad.StatusCode, code)
		}
	})
}
