package quota

import (
	"bytes"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
)

// person of this name, as somebody behind Open WebUI.
func named(name string) *identity.Identity {
	return &identity.Identity{ID: name, Email: name + "@example.com", UserKey: "user:" + name + "@example.com"}
}

// inForce is what holds for somebody's questions.
func inForce(b *Book, id *identity.Identity) string {
	d := &policy.Decision{Size: policy.SizeLight}
	b.Apply(id, d)
	if len(d.Buckets) == 0 {
		return ""
	}
	return d.Buckets[0].Text
}

func (s *source) hold(until chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds = until
}

func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func set(t *testing.T, to Source, name, text string) {
	t.Helper()
	if err := to.Write(t.Context(), Prefix+name, Value{Text: text}); err != nil {
		t.Fatal(err)
	}
}

// started is a book that has walked through all there is.
func started(t *testing.T, log *bytes.Buffer) (*Book, *source) {
	t.Helper()
	src := &source{Source: KV{Bucket: &bucket{all: map[string][]byte{}}}}
	b := newBook(t, src, log)
	b.Start()
	t.Cleanup(b.Stop)
	synctest.Wait()
	return b, src
}

// TestSomebodyNewHasWhatIsSet for them with their first request, and with all that
// come together with it.
func TestSomebodyNewHasWhatIsSet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, src := started(t, nil)
		set(t, src, "user:fresh", "2/minute")
		set(t, src, "group:g", "3/minute")
		slow := make(chan struct{})
		src.hold(slow)
		var all sync.WaitGroup
		for range 40 {
			all.Go(func() {
				b.Meet(named("fresh"))
				if got := inForce(b, named("fresh")); got != "2/minute" {
					t.Errorf("%q holds", got)
				}
			})
		}
		synctest.Wait()
		if n := src.count(); n != 2 { // by the tick, and for all of them together
			t.Errorf("%d reads", n)
		}
		close(slow)
		all.Wait()
		member := named("member")
		member.Groups = []string{"g"}
		if got := inForce(b, member); got != "3/minute" {
			t.Errorf("%q holds for a member", got)
		}
		<-time.After(2 * time.Minute) // they are not read any more
		set(t, src, "user:member", "4/minute")
		if got := inForce(b, member); got != "4/minute" {
			t.Errorf("%q holds for who comes again", got)
		}
		before := src.count()
		if inForce(b, member); src.count() != before {
			t.Error("who is known is asked for again")
		}
		// Of somebody new whose names are all read anyway nothing is asked for.
		<-time.After(time.Second)
		synctest.Wait()
		before = src.count()
		if got := inForce(b, &identity.Identity{UserKey: "ip:1.2.3.4", Anonymous: true, Groups: []string{"g"}}); got != "3/minute" || src.count() != before {
			t.Errorf("%q holds, and %d reads", got, src.count()-before)
		}
	})
}

// TestASourceThatHangs costs those who are new one wait, and then nobody anything
// until it is back; then they have what is set at once.
func TestASourceThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		b, src := started(t, log)
		set(t, src, "user:bob", "2/minute")
		set(t, src, "user:carol", "2/minute")
		hang := make(chan struct{})
		src.hold(hang)
		begin := time.Now()
		if got := inForce(b, named("bob")); got != "" {
			t.Errorf("%q holds", got)
		}
		if d := time.Since(begin); d != 100*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		begin = time.Now()
		for i := range 1000 {
			inForce(b, named("x"+strconv.Itoa(i)))
		}
		inForce(b, named("carol"))
		if d := time.Since(begin); d != 0 {
			t.Errorf("it took %v", d)
		}
		<-time.After(10 * time.Second)
		src.hold(nil)
		close(hang)
		<-time.After(501 * time.Millisecond)
		synctest.Wait()
		for _, who := range []string{"bob", "carol"} {
			if got := inForce(b, named(who)); got != "2/minute" {
				t.Errorf("%q holds for %s", got, who)
			}
		}
		b.Stop()
		for _, line := range []string{"the quotas can't be read; the last ones hold until they can", "the quotas can be read again"} {
			if n := strings.Count(log.String(), line); n != 1 {
				t.Errorf("%q is said %d times", line, n)
			}
		}
	})
}

// TestWhatIsSaidElsewhere is not said twice.
func TestWhatIsSaidElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		src := &source{Source: KV{Bucket: &bucket{all: map[string][]byte{}}}, err: errors.New("away")}
		b, err := NewBook(Config{Source: src, Away: func() bool { return true }, Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		b.Start()
		<-time.After(time.Minute)
		b.Stop()
		if log.Len() > 0 {
			t.Error(log)
		}
	})
}

// TestQuotasAreReadThoughTheyCannotBeListed as in a Redis where that takes too long.
func TestQuotasAreReadThoughTheyCannotBeListed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		b, src := started(t, log)
		src.mu.Lock()
		src.unlisted = true
		src.mu.Unlock()
		<-time.After(time.Minute)
		inForce(b, named("ann"))
		for _, text := range []string{"2/minute", "3/minute"} {
			set(t, src, "user:ann", text)
			<-time.After(501 * time.Millisecond)
			synctest.Wait()
			if got := inForce(b, named("ann")); got != text {
				t.Errorf("%q holds, want %s", got, text)
			}
		}
		// Of many the ticks read all, in parts.
		many := map[string][]byte{}
		for i := range several + 1 {
			many[Prefix+"user:u"+strconv.Itoa(i)] = []byte("5/minute")
		}
		kv := src.Source.(KV).Bucket.(*bucket)
		kv.mu.Lock()
		maps.Copy(kv.all, many)
		kv.mu.Unlock()
		src.mu.Lock()
		src.unlisted = false
		src.mu.Unlock()
		<-time.After(31 * time.Second)
		set(t, src, "user:u7", "6/minute")
		<-time.After(time.Second)
		synctest.Wait()
		if got := (*b.now.Load())[Name{User, "u7", ""}].said; got != "6/minute" {
			t.Errorf("%q holds", got)
		}
		b.Stop()
		if n := strings.Count(log.String(), "the quotas can't be listed"); n != 1 {
			t.Errorf("it is said %d times that they can't be listed", n)
		}
	})
}

// TestATickDoesNotUndoWhatIsNewer: it asked before somebody set a quota, and is
// answered late.
func TestATickDoesNotUndoWhatIsNewer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := started(t, nil)
		b.Stop()
		b.mark(map[Name]bool{})
		full := "rate_limit:user:ann"
		b.learn(t.Context(), map[string]Found{full: {"2/minute", true}})
		b.mu.Lock()
		b.takeLocked(t.Context(), map[string]Found{full: {}}, b.newer)
		b.mu.Unlock()
		b.mark(nil)
		if (*b.now.Load())[Name{User, "ann", ""}] == nil {
			t.Error("it is gone")
		}
		b.mu.Lock()
		b.takeLocked(t.Context(), map[string]Found{full: {}}, b.newer)
		b.mu.Unlock()
		if (*b.now.Load())[Name{User, "ann", ""}] != nil {
			t.Error("it is not gone")
		}
	})
}

// TestAWrongNameIsSaid once: nobody would ever have what it says.
func TestAWrongNameIsSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		b, src := started(t, log)
		for _, name := range []string{"user:Carol@Example.com", "user:alice ", "usr:bob"} {
			set(t, src, name, "2/minute")
		}
		set(t, src, "user:dave@example.com", "2/minute")
		<-time.After(2 * time.Minute)
		synctest.Wait()
		m := &dto.Metric{}
		if err := b.invalid.Write(m); err != nil || m.GetCounter().GetValue() != 3 {
			t.Errorf("%v are counted, %v", m, err)
		}
		all, err := (&Service{Book: b}).List(t.Context())
		if err != nil || len(all) != 4 {
			t.Fatalf("%+v, %v", all, err)
		}
		for _, o := range all {
			if (o.Error == "") != (o.Name == "user:dave@example.com") {
				t.Errorf("%+v", o)
			}
		}
		b.Stop()
		if n := strings.Count(log.String(), "a quota holds for nobody"); n != 3 {
			t.Errorf("it is said %d times:\n%s", n, log)
		}
		if !strings.Contains(log.String(), "write rate_limit:user:carol@example.com") {
			t.Errorf("it is not said how it is written:\n%s", log)
		}
	})
}

// TestAFloodOfCallers is not remembered, and those who came last are.
func TestAFloodOfCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b, _ := started(t, nil)
		const flood = 10 * mostCallers
		for i := range flood {
			b.Meet(&identity.Identity{UserKey: "ip:" + strconv.Itoa(i), Anonymous: true})
		}
		if n := len(b.callers.now) + len(b.callers.old); n > 2*mostCallers {
			t.Errorf("%d are remembered", n)
		}
		for i := flood - mostCallers; i < flood; i++ {
			if _, ok := b.callers.now["ip:"+strconv.Itoa(i)]; !ok && b.callers.old["ip:"+strconv.Itoa(i)] == nil {
				t.Fatalf("%d is forgotten", i)
			}
		}
		b.Stop()
	})
}

// BenchmarkStrangers is a flood of callers of whom none comes again, beside one who does.
func BenchmarkStrangers(b *testing.B) {
	book, err := NewBook(Config{Source: KV{Bucket: &bucket{all: map[string][]byte{}}}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ids := make([]identity.Identity, 1_000_000)
	for i := range ids {
		ids[i] = identity.Identity{UserKey: "ip:" + strconv.Itoa(i), Anonymous: true}
	}
	for name, n := range map[string]int{"one": 1, "a million": len(ids)} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				book.Meet(&ids[i%n])
			}
		})
	}
}
