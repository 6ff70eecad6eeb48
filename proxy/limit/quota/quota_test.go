package quota

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/limit/redistest"
	"fairlane/proxy/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bucket is a Bucket in memory.
type bucket struct {
	mu  sync.Mutex
	all map[string][]byte
}

func (b *bucket) All() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.all)
}

func (b *bucket) Put(_ context.Context, name string, v []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all[name] = v
	return nil
}

func (b *bucket) Delete(_ context.Context, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.all, name)
	return nil
}

// source is one that can fail, and that notes what it is asked.
type source struct {
	Source
	mu       sync.Mutex
	err      error
	asked    []string
	reads    int
	walks    int
	unlisted bool          // it can't be walked through
	holds    chan struct{} // if not nil, whoever reads waits for it
}

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *source) Read(ctx context.Context, names []string) (map[string]Found, error) {
	s.mu.Lock()
	s.asked, s.reads = names, s.reads+1
	err, holds := s.err, s.holds
	s.mu.Unlock()
	if holds != nil {
		select {
		case <-holds:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return s.Source.Read(ctx, names)
}

func (s *source) Names(ctx context.Context, visit func([]string) error) error {
	s.mu.Lock()
	s.walks++
	err := s.err
	if s.unlisted {
		err = errors.New("it takes too long")
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Source.Names(ctx, visit)
}

func newBook(t *testing.T, s Source, log *bytes.Buffer) *Book {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	if log != nil {
		logger = slog.New(slog.NewJSONHandler(log, nil))
	}
	b, err := NewBook(Config{Source: s, Metrics: prometheus.NewRegistry(), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// with is a book that has read overrides.
func with(t *testing.T, all map[string]string) *Book {
	t.Helper()
	k := &bucket{all: map[string][]byte{}}
	for name, text := range all {
		k.all[Prefix+name] = []byte(text) // as somebody writes it by hand
	}
	b := newBook(t, KV{Bucket: k}, nil)
	b.walk(&walks{})
	return b
}

func limits(t *testing.T, text string) []limit.Limit {
	t.Helper()
	l, err := limit.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Name{
		"user:alice":                    {User, "alice", ""},
		"rate_limit:user:a@example.com": {User, "a@example.com", ""},
		"user:alice:heavy":              {User, "alice", "heavy"},
		"user:urn:person:1":             {User, "urn:person:1", ""},
		"user:heavy":                    {User, "heavy", ""},
		"group:R&D":                     {Group, "R&D", ""},
		"group:cn=a,dc=b:heavy":         {Group, "cn=a,dc=b:heavy", ""},
		"key:ci":                        {Key, "ci", ""},
		"rate_limit:role:vip":           {Role, "vip", ""},
		"user:Carol@Example.com":        {User, "carol@example.com", ""},
		"user:Carol@Example.com:light":  {User, "carol@example.com", "light"},
		"user:Carol":                    {User, "Carol", ""},
		"group:A@B":                     {Group, "A@B", ""},
	} {
		got, err := ParseName(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
		if again, err := ParseName(got.String()); err != nil || again != got {
			t.Errorf("%s: %s is read as %+v", text, got, again)
		}
	}
	for _, text := range []string{
		"", "alice", "user:", "ip:1.2.3.4", ":x", "rate_limit:", "user:alice ", "user: alice", "user:alice :heavy", "group:a\nb", "user:alice\t",
	} {
		if _, err := ParseName(text); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestASizeHasAPlace that the error names.
func TestASizeHasAPlace(t *testing.T) {
	t.Parallel()
	if _, err := ParseName("alice:heavy"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "user:alice:heavy, at the command line alice --size heavy") {
		t.Error(err)
	}
}

// TestShowOfAGroup is what is set for it, and not what somebody of that name has.
func TestShowOfAGroup(t *testing.T) {
	t.Parallel()
	b := with(t, map[string]string{"group:vip": "200/minute", "role:bad": "2/week"})
	s := &Service{Book: b}
	for who, want := range map[string]InForce{
		"group:vip":            {Who: "group:vip", Known: true, Override: &Override{Name: "group:vip", Limits: "200/minute"}},
		"rate_limit:group:vip": {Who: "group:vip", Known: true, Override: &Override{Name: "group:vip", Limits: "200/minute"}},
		"role:none":            {Who: "role:none", Known: true},
	} {
		if got, err := s.Show(t.Context(), who); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %v\n%s", who, err, cmp.Diff(want, got))
		}
	}
	if got, err := s.Show(t.Context(), "role:bad"); err != nil || got.Override == nil || got.Override.Error == "" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Show(t.Context(), "group: x"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// TestWhoseCounts goes down the order.
func TestWhoseCounts(t *testing.T) {
	t.Parallel()
	all := map[string]string{
		"user:alice": "1/minute", "user:bob@example.com": "2/minute", "key:ci": "3/minute",
		"group:slow": "100/second; 1/hour", "group:fast": "4/minute", "group:bad": "4/week",
		"role:user": "5/minute", "role:admin": "6/minute", "user:alice:heavy": "1/hour", "user:dora": "",
	}
	b := with(t, all)
	for name, tt := range map[string]struct {
		id   identity.Identity
		want string
	}{
		"user":                {identity.Identity{ID: "alice", UserKey: "user:alice", KeyID: "ci", Roles: []string{"user"}}, "rate_limit:user:alice"},
		"email":               {identity.Identity{ID: "b", Email: "bob@example.com", UserKey: "user:bob@example.com", KeyID: "ci"}, "rate_limit:user:bob@example.com"},
		"key":                 {identity.Identity{UserKey: "key:ci", KeyID: "ci", Groups: []string{"fast"}}, "rate_limit:key:ci"},
		"the largest group":   {identity.Identity{ID: "c", UserKey: "user:c", Groups: []string{"slow", "fast", "bad"}, Roles: []string{"user"}}, "rate_limit:group:fast"},
		"the largest role":    {identity.Identity{ID: "c", UserKey: "user:c", Groups: []string{"bad"}, Roles: []string{"user", "admin"}}, "rate_limit:role:admin"},
		"nothing at all":      {identity.Identity{ID: "dora", UserKey: "user:dora"}, ""},
		"nobody":              {identity.Identity{KeyID: "ci", Nobody: true}, ""},
		"an address":          {identity.Identity{UserKey: "ip:1.2.3.4", Anonymous: true}, ""},
		"somebody called key": {identity.Identity{ID: "ci", UserKey: "user:ci"}, ""},
	} {
		d := &policy.Decision{Size: policy.SizeLight}
		if got := b.Apply(&tt.id, d).Requests; got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if (tt.want != "") != (len(d.Buckets) == 1) {
			t.Errorf("%s: %+v", name, d.Buckets)
		}
	}
}

func TestWhatIsReplaced(t *testing.T) {
	t.Parallel()
	b := with(t, map[string]string{"user:alice": "50/minute", "user:alice:heavy": "1/hour"})
	alice := &identity.Identity{ID: "alice", UserKey: "user:alice"}
	requests := func(owner, text string) policy.Bucket {
		return policy.Bucket{Kind: policy.Requests, Scope: "requests/x", Owner: owner, Limits: limits(t, text), Text: text}
	}
	heavy := policy.Bucket{Kind: policy.BySize, Scope: "heavy", Owner: "user:alice", Limits: limits(t, "3/minute"), Text: "3/minute"}
	tokens := policy.Bucket{Kind: policy.Tokens, Scope: "tokens", Owner: "user:alice", Limits: limits(t, "9/minute"), Text: "9/minute"}
	changed := func(b policy.Bucket, text string) policy.Bucket {
		b.Owner, b.Limits, b.Text = "user:alice", limits(t, text), text
		return b
	}
	for name, tt := range map[string]struct {
		size     string
		in, want []policy.Bucket
	}{
		"a question":  {"light", []policy.Bucket{requests("user:alice", "30/minute"), tokens}, []policy.Bucket{requests("user:alice", "50/minute"), tokens}},
		"of all":      {"light", []policy.Bucket{requests("", "30/minute")}, []policy.Bucket{requests("user:alice", "50/minute")}},
		"a heavy one": {"heavy", []policy.Bucket{requests("user:alice", "30/minute"), heavy}, []policy.Bucket{requests("user:alice", "50/minute"), changed(heavy, "1/hour")}},
	} {
		d := &policy.Decision{Size: tt.size, Buckets: tt.in}
		b.Apply(alice, d)
		if diff := cmp.Diff(tt.want, d.Buckets); diff != "" {
			t.Errorf("%s: -want +got\n%s", name, diff)
		}
	}
	d := &policy.Decision{Size: "heavy"}
	b.Apply(alice, d)
	if len(d.Buckets) != 2 || d.Buckets[0].Owner != "user:alice" || d.Buckets[0].Scope == d.Buckets[1].Scope {
		t.Errorf("where no rule has a limit: %+v", d.Buckets)
	}
}

// TestBookFollows what is set, in a second, also a bad text and a source that is
// away.
func TestBookFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kv := KV{Bucket: &bucket{all: map[string][]byte{}}}
		src := &source{Source: kv}
		log := &bytes.Buffer{}
		b := newBook(t, src, log)
		b.Start()
		b.Start()
		defer b.Stop()
		alice := &identity.Identity{ID: "alice", UserKey: "user:alice"}
		holds := func(want string) {
			t.Helper()
			<-time.After(501 * time.Millisecond)
			synctest.Wait()
			d := &policy.Decision{Size: "light"}
			b.Apply(alice, d)
			got := ""
			if len(d.Buckets) == 1 {
				got = d.Buckets[0].Text
			}
			if got != want {
				t.Fatalf("%q holds, want %q", got, want)
			}
		}
		set := func(text string, lasts time.Duration) {
			t.Helper()
			v := Value{Text: text}
			if lasts > 0 {
				v.Until = time.Now().Add(lasts)
			}
			if err := kv.Write(t.Context(), "rate_limit:user:alice", v); err != nil {
				t.Fatal(err)
			}
		}
		holds("")
		set("5/minute", 0)
		holds("5/minute")
		set("5/week", 0)
		holds("5/minute")
		holds("5/minute")
		m := &dto.Metric{}
		if err := b.invalid.Write(m); err != nil || m.GetCounter().GetValue() != 1 {
			t.Errorf("%v are counted as invalid, %v", m, err)
		}
		src.fail(errors.New("away"))
		set("6/minute", 0)
		holds("5/minute")
		holds("5/minute")
		src.fail(nil)
		holds("6/minute")
		set("7/minute", 3*time.Second)
		holds("7/minute")
		<-time.After(3 * time.Second)
		holds("")
		set("8/minute", 0)
		holds("8/minute")
		set("", 0)
		holds("")
		if n := strings.Count(log.String(), "the quotas can't be read"); n != 0 { // it was away for two ticks
			t.Errorf("it is said %d times that the source is away", n)
		}
		src.mu.Lock()
		walks := src.walks
		src.mu.Unlock()
		<-time.After(time.Minute)
		synctest.Wait()
		src.mu.Lock()
		defer src.mu.Unlock()
		if src.walks < walks+1 || src.walks > walks+3 {
			t.Errorf("everything was read %d times in a minute", src.walks-walks)
		}
	})
}

// TestBookAsksForWhoCame lately, and for nobody else.
func TestBookAsksForWhoCame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		src := &source{Source: KV{Bucket: &bucket{all: map[string][]byte{}}}}
		b := newBook(t, src, nil)
		b.Apply(&identity.Identity{ID: "a", Email: "a@example.com", UserKey: "user:a@example.com", KeyID: "ui", Groups: []string{"g"}, Roles: []string{"r"}}, &policy.Decision{})
		b.tick(&ticks{})
		if len(src.asked) != 2*4+3 {
			t.Errorf("asked for %q", src.asked)
		}
		<-time.After(2 * time.Minute)
		b.tick(&ticks{})
		if len(src.asked) != 0 {
			t.Errorf("asked for %q", src.asked)
		}
	})
}

// TestRedisIsASource for what redis-cli writes.
func TestRedisIsASource(t *testing.T) {
	real := redistest.Start(t)
	for name, addr := range map[string]string{"miniredis": miniredis.RunT(t).Addr(), "redis": real.Addr} {
		t.Run(name, func(t *testing.T) {
			db := redis.NewClient(&redis.Options{Addr: addr})
			t.Cleanup(func() { _ = db.Close() })
			r, ctx := Redis{DB: db}, t.Context()
			service := &Service{Book: newBook(t, r, nil), Logger: slog.New(slog.DiscardHandler)}
			if got, err := service.List(ctx); err != nil || len(got) != 0 {
				t.Errorf("%v, %v", got, err)
			}
			db.Set(ctx, "rate_limit:user:alice", "2/minute", 0)
			db.Set(ctx, "other", "x", 0)
			db.HSet(ctx, "rate_limit:user:hash", "a", "b")
			for i := range 1200 {
				db.Set(ctx, "rate_limit:group:g"+strconv.Itoa(i), "3/minute", 0)
			}
			if err := r.Write(ctx, "rate_limit:user:bob", Value{Text: "9/minute", Until: time.Now().Add(time.Hour)}); err != nil {
				t.Fatal(err)
			}
			all, err := service.List(ctx)
			if err != nil || len(all) != 1203 {
				t.Fatalf("%d of them, %v", len(all), err)
			}
			by := map[string]Override{}
			for _, o := range all {
				by[o.Name] = o
			}
			if got := by["user:alice"]; got != (Override{Name: "user:alice", Limits: "2/minute"}) {
				t.Errorf("%+v", got)
			}
			if left := time.Until(by["user:bob"].Until); left < 50*time.Minute || left > time.Hour {
				t.Errorf("%v are left", left)
			}
			if got := by["user:hash"]; got.Limits != noText || got.Error == "" {
				t.Errorf("%+v", got)
			}
			some, err := r.Read(ctx, []string{"rate_limit:user:alice", "rate_limit:user:nobody", "rate_limit:user:hash"})
			want := map[string]Found{"rate_limit:user:alice": {"2/minute", true}, "rate_limit:user:nobody": {}, "rate_limit:user:hash": {noText, true}}
			if diff := cmp.Diff(want, some); diff != "" || err != nil {
				t.Error(diff, err)
			}
			if err := r.Write(ctx, "rate_limit:user:alice", Value{}); err != nil || db.Exists(ctx, "rate_limit:user:alice").Val() != 0 {
				t.Error("it is not deleted")
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	book, err := NewBook(Config{Source: KV{Bucket: &bucket{all: map[string][]byte{"rate_limit:role:vip": []byte("9/minute")}}}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	book.walk(&walks{})
	id := &identity.Identity{ID: "alice", Email: "alice@example.com", UserKey: "user:alice@example.com", KeyID: "ui", Groups: []string{"a", "b"}, Roles: []string{"user"}}
	d := &policy.Decision{Size: "light"}
	b.ReportAllocs()
	for b.Loop() {
		book.Apply(id, d)
	}
}
