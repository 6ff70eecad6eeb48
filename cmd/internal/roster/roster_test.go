package roster

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/cmd/internal/config"
	"fairlane/proxy/admin"
)

// zone answers lookups.
type zone struct {
	mu    sync.Mutex
	hosts map[string][]string
	err   error
}

func (z *zone) lookup(_ context.Context, host string) ([]string, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	switch found := z.hosts[host]; {
	case z.err != nil:
		return nil, z.err
	case len(found) == 0:
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	default:
		return found, nil
	}
}

func (z *zone) set(err error, host string, addresses ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.err, z.hosts[host] = err, addresses
}

// memory is a store that may be down.
type memory struct {
	mu  sync.Mutex
	b   []byte
	err error
}

func (m *memory) Save(_ context.Context, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.b = b
	}
	return m.err
}

func (m *memory) Load(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b, m.err
}

func pool(name string, backends ...config.Backend) config.Pool {
	return config.Pool{Name: name, Backends: backends}
}

func urls(r *Roster, pool string) []string {
	var out []string
	for _, b := range r.Backends(pool) {
		if b.Draining {
			out = append(out, b.URL+" drains")
			continue
		}
		out = append(out, b.URL)
	}
	return out
}

func same(t *testing.T, r *Roster, pool string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, urls(r, pool)); diff != "" {
		t.Errorf("pool %s: -want +got\n%s", pool, diff)
	}
}

// TestNames: every address of a name is a backend, with the key and the slots of
// its entry; one that appears is there at the next look, one that vanishes goes
// after three answers without it, and none goes for a lookup that fails.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{hosts: map[string][]string{"vllm.svc": {"10.0.0.2", "10.0.0.1"}, "six": {"fd00::1"}}}
		changes := 0
		r := New(Config{Lookup: z.lookup, OnChange: func() { changes++ }})
		r.Configure(t.Context(), []config.Pool{
			pool("main", config.Backend{URL: "dns+http://vllm.svc:8000/x", APIKey: "sesame", Slots: 4, KVTokens: 9}, config.Backend{URL: "http://gpu"}),
			pool("six", config.Backend{URL: "dns+https://six"}, config.Backend{URL: "http://10.0.0.2:8000/x"}),
		})
		same(t, r, "main", "http://10.0.0.1:8000/x", "http://10.0.0.2:8000/x", "http://gpu")
		same(t, r, "six", "https://[fd00::1]") // the other one has the pool main already
		want := Backend{Backend: config.Backend{URL: "http://10.0.0.1:8000/x", APIKey: "sesame", Slots: 4, KVTokens: 9}, Name: "vllm.svc"}
		if diff := cmp.Diff(want, r.Backends("main")[0]); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		r.Start(t.Context())
		r.Start(t.Context())
		look := func() { time.Sleep(every); synctest.Wait() } //nolint:forbidigo // fake time
		look()
		if changes != 0 {
			t.Errorf("%d changes of nothing", changes)
		}
		z.set(nil, "vllm.svc", "10.0.0.3", "10.0.0.1")
		look()
		same(t, r, "main", "http://10.0.0.1:8000/x", "http://10.0.0.2:8000/x", "http://10.0.0.3:8000/x", "http://gpu")
		look()
		z.set(errors.New("the server is away"), "vllm.svc")
		for range 10 {
			look()
		}
		same(t, r, "main", "http://10.0.0.1:8000/x", "http://10.0.0.2:8000/x", "http://10.0.0.3:8000/x", "http://gpu")
		z.set(nil, "vllm.svc", "10.0.0.3")
		look()
		same(t, r, "main", "http://10.0.0.1:8000/x", "http://10.0.0.3:8000/x", "http://gpu")
		same(t, r, "six", "https://[fd00::1]", "http://10.0.0.2:8000/x") // nobody else has it now
		z.set(nil, "vllm.svc")                                           // the name is gone, and that is an answer
		for range missedAnswers {
			look()
		}
		same(t, r, "main", "http://gpu")
		r.Stop()
		r.Stop()
		if len(r.names) != 2 {
			t.Errorf("%d names", len(r.names))
		}
		r.Configure(t.Context(), []config.Pool{pool("main")})
		if len(r.names) != 0 || len(r.Backends("main")) != 0 {
			t.Errorf("%d names are kept of no backends, %d of the backends", len(r.names), len(r.Backends("main")))
		}
	})
}

// TestOperators: what one does is seen by another process and after a restart,
// lies over the file, and can be taken back.
func TestOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &memory{}
		pools := []config.Pool{pool("main", config.Backend{URL: "http://a", APIKey: "sesame"}, config.Backend{URL: "http://b"}), pool("other", config.Backend{URL: "http://o"})}
		begin := func() *Roster {
			r := New(Config{Memory: map[string]Memory{"main": store, "other": &memory{}}})
			r.Configure(ctx, pools)
			return r
		}
		r, elsewhere := begin(), begin()
		elsewhere.Start(ctx)
		defer elsewhere.Stop()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(r.Add(ctx, "main", admin.NewBackend{URL: "http://c:80/v1/", Slots: 3}))
		must(r.Drain(ctx, "main", "http://a/"))
		must(r.Remove(ctx, "main", "http://b"))
		same(t, r, "main", "http://a drains", "http://c")
		if b := r.Backends("main")[1]; b.APIKey != "sesame" || b.Slots != 3 {
			t.Errorf("it was added as %+v", b)
		}
		time.Sleep(every) //nolint:forbidigo // fake time
		synctest.Wait()
		same(t, elsewhere, "main", "http://a drains", "http://c")
		same(t, begin(), "main", "http://a drains", "http://c")
		if string(store.b) == "" || cmp.Equal(string(store.b), "sesame") {
			t.Errorf("kept: %s", store.b)
		}
		must(r.Resume(ctx, "main", "http://a"))
		must(r.Add(ctx, "main", admin.NewBackend{URL: "http://b"}))
		must(r.Drain(ctx, "main", "http://c"))
		same(t, r, "main", "http://a", "http://b", "http://c drains")
		must(r.Remove(ctx, "main", "http://c"))
		same(t, r, "main", "http://a", "http://b")
		if string(store.b) != "[]" {
			t.Errorf("all was taken back, and %s is kept", store.b)
		}
	})
}

// TestWrongOrders changes nothing.
func TestWrongOrders(t *testing.T) {
	ctx := t.Context()
	store := &memory{}
	r := New(Config{Memory: map[string]Memory{"main": store}})
	r.Configure(ctx, []config.Pool{pool("main", config.Backend{URL: "http://a"}), pool("mute", config.Backend{URL: "http://m"})})
	for name, x := range map[string]struct{ err, want error }{
		"no pool":         {r.Add(ctx, "nope", admin.NewBackend{URL: "http://x"}), admin.ErrNotFound},
		"no backend":      {r.Drain(ctx, "main", "http://x"), admin.ErrNotFound},
		"of another pool": {r.Drain(ctx, "main", "http://m"), admin.ErrNotFound},
		"in another pool": {r.Add(ctx, "main", admin.NewBackend{URL: "http://m"}), admin.ErrInvalid},
		"no URL":          {r.Add(ctx, "main", admin.NewBackend{URL: "ftp://x"}), admin.ErrInvalid},
		"a password":      {r.Add(ctx, "main", admin.NewBackend{URL: "http://u:p@x"}), admin.ErrInvalid},
		"a name":          {r.Add(ctx, "main", admin.NewBackend{URL: "dns+http://x"}), admin.ErrInvalid},
	} {
		if !errors.Is(x.err, x.want) {
			t.Errorf("%s: %v", name, x.err)
		}
	}
	store.err = errors.New("the store is down")
	if err := r.Drain(ctx, "main", "http://a"); !errors.Is(err, store.err) {
		t.Errorf("kept nowhere: %v", err)
	}
	same(t, r, "main", "http://a")
	store.err, store.b = nil, []byte("nonsense")
	r.look(ctx)
	same(t, r, "main", "http://a")
}
