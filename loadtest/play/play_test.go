package play

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"fairlane/loadtest/simulate"
)

func workload(t *testing.T, load string) *simulate.Workload {
	t.Helper()
	w, err := simulate.ParseWorkload([]byte(`
duration: 300ms
bounded: true
classes: {one: {weight: 1}}
users: [{name: a, class: one, roles: [user], groups: [x, y], input: {fixed: 50}, output: {fixed: 3}, load: `+load+`}]`), "w")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// server answers each request with three tokens, and remembers what it was asked.
func server(t *testing.T, status int) (base string, asked func() []string) {
	t.Helper()
	var mu sync.Mutex
	var all []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var b strings.Builder
		_ = r.Header.Write(&b)
		body := make([]byte, r.ContentLength)
		_, _ = r.Body.Read(body)
		mu.Lock()
		all = append(all, b.String()+string(body))
		mu.Unlock()
		w.Header().Set("X-Fairlane-Wait-Ms", "1500")
		w.WriteHeader(status)
		for _, n := range []int{0, 1, 3, 3} { // the role, a token, two in one, the end
			fmt.Fprintf(w, "data: {\"choices\":[{}],\"usage\":{\"completion_tokens\": %d,\"total_tokens\":53}}\n\n", n)
		}
		fmt.Fprint(w, "data: [DONE]\n\n")
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// TestCompletionsAskWithTokens, as many as the workload says, and no two the same.
func TestCompletionsAskWithTokens(t *testing.T) {
	t.Parallel()
	base, asked := server(t, http.StatusOK)
	w := workload(t, "{outstanding: 2}")
	w.Users[0].Endpoint = "completions"
	r, err := Run(t.Context(), Config{Base: base}, w)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, a := range asked() {
		_, prompt, _ := strings.Cut(a, `"prompt":[`)
		prompt, _, _ = strings.Cut(prompt, "]")
		if n := strings.Count(prompt, ",") + 1; n != 50 || seen[prompt] {
			t.Fatalf("asked with %d tokens: %s", n, a)
		}
		seen[prompt] = true
	}
	if want := 3 * r.Requests; int(r.OutputRate*r.Seconds+0.5) < want {
		t.Errorf("%g tokens a second of %d answers", r.OutputRate, r.Requests)
	}
}

func TestWhatIsSeenIsReported(t *testing.T) {
	t.Parallel()
	base, asked := server(t, http.StatusOK)
	w := workload(t, "{outstanding: 2}")
	r, err := Run(t.Context(), Config{Base: base, KV: func(context.Context) (float64, error) { return 0.25, nil }}, w)
	if err != nil {
		t.Fatal(err)
	}
	row := r.Rows[0]
	if row.Wait.P50 != 1.5 || r.Classes[0].Wait.P50 != 1.5 || r.KV != 0.25 || r.KVMost != 0.25 {
		t.Errorf("waits %v, KV %g", row.Wait, r.KV)
	}
	if r.Requests == 0 || row.Served != r.Requests || row.Share != 1 || row.First.N < row.Served || r.Classes[0].Name != "one" {
		t.Errorf("%+v", r)
	}
	all := asked()
	if first := all[0]; !strings.Contains(first, `"max_tokens":3`) || !strings.Contains(first, "User-Id: a\r\n") || !strings.Contains(first, "X-User-Groups: x,y") {
		t.Errorf("asked %s", first)
	}
	if len(all) > 1 && strings.HasSuffix(all[0], all[1][strings.LastIndex(all[1], `"content"`):]) {
		t.Error("two prompts are one")
	}
}

func TestARefusalEndsTheRun(t *testing.T) {
	t.Parallel()
	base, _ := server(t, http.StatusTooManyRequests)
	if _, err := Run(t.Context(), Config{Base: base}, workload(t, "{outstanding: 1}")); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("%v", err)
	}
}

// TestTooManyEndTheRun: who asks at a rate does not wait for answers, so there is
// a bound.
func TestTooManyEndTheRun(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(s.Close)
	defer close(hold)
	w := workload(t, "{rate: 1000}")
	w.Duration = time.Second
	if _, err := Run(t.Context(), Config{Base: s.URL, Most: 3}, w); !errors.Is(err, ErrTooMany) {
		t.Errorf("%v", err)
	}
}
