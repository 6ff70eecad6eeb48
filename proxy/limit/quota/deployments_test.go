package quota

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/limit/redistest"
	"fairlane/proxy/policy"
)

// documented are the rights that an administrator is told to give.
func documented(t *testing.T) (server, cluster []string) {
	t.Helper()
	b, err := os.ReadFile("../../../deploy/fairlane.yaml")
	if err != nil {
		t.Fatal(err)
	}
	user := regexp.MustCompile(`ACL SETUSER fairlane on >PASSWORD (.*)`).FindSubmatch(b)
	more := regexp.MustCompile(`in a cluster ((?:\+\S+ )+)`).FindSubmatch(b)
	if user == nil || more == nil {
		t.Fatal("deploy/fairlane.yaml does not tell the rights that a user needs")
	}
	return strings.Fields(string(user[1])), strings.Fields(string(more[1]))
}

// restrict is what makes a server know fairlane by a password, with rights.
func restrict(rights []string) []string {
	return append([]string{"--user", "fairlane", "on", ">sesame"}, rights...)
}

// useAll does all that a process does with its Redis.
func useAll(t *testing.T, url string) {
	t.Helper()
	db, err := limit.Address{URL: url}.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var heard bytes.Buffer
	store := limit.NewRedis(limit.RedisConfig{Wait: time.Minute, Changed: func(err error) { fmt.Fprintln(&heard, err) }}, db)
	store.Start()
	l := limit.Limit{N: 5, Period: time.Hour, Burst: 5}
	charges := []limit.Charge{{Key: limit.Key{Scope: "requests/*", Owner: "user:ann", Period: l.Period}, Limit: l, Cost: 3}}
	if res, err := store.Acquire(t.Context(), charges); err != nil || !res.Granted {
		t.Errorf("%+v %v", res, err)
	}
	charges[0].Cost = -3
	if err := store.Settle(t.Context(), charges); err != nil {
		t.Error(err)
	}
	store.Stop()
	if heard.Len() > 0 {
		t.Errorf("the store said %s", &heard)
	}
	useQuotas(t, Redis{DB: db})
}

// useQuotas sets overrides in many slots, reads and lists them, and takes them away.
func useQuotas(t *testing.T, r Redis) {
	t.Helper()
	const several = 50
	names := make([]string, 0, several)
	for n := range several {
		name := Name{Kind: User, ID: fmt.Sprintf("u%d", n)}.String()
		v := Value{Text: "7/minute"}
		if n%2 == 0 {
			v.Until = time.Now().Add(time.Hour)
		}
		if err := r.Write(t.Context(), name, v); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	found, err := r.Read(t.Context(), append(names, Prefix+"user:nobody"))
	if err != nil || len(found) != several+1 || found[names[3]] != (Found{"7/minute", true}) || found[Prefix+"user:nobody"].Set {
		t.Errorf("%v %v", found, err)
	}
	if _, err := r.Read(t.Context(), nil); err != nil {
		t.Error(err)
	}
	listed := map[string]bool{}
	if err := r.Names(t.Context(), func(names []string) error {
		for _, n := range names {
			listed[n] = true
		}
		return nil
	}); err != nil || len(listed) != several {
		t.Errorf("%d are listed, %v", len(listed), err)
	}
	if ends, err := r.Ends(t.Context(), names); err != nil || len(ends) != several/2 {
		t.Errorf("%d end, %v", len(ends), err)
	}
	for _, n := range names {
		if err := r.Write(t.Context(), n, Value{}); err != nil {
			t.Fatal(err)
		}
	}
}

// denied is what a server refused to somebody.
func denied(t *testing.T, s *redistest.Server) string {
	t.Helper()
	log, err := s.Client(t).ACLLog(t.Context(), 100).Result()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, e := range log {
		fmt.Fprintf(&out, "%s: %s %s\n", e.Username, e.Reason, e.Object)
	}
	return out.String()
}

// TestTheRightsThatAreDocumentedAreEnough for all that a process does: the server
// refuses nothing, what is tried in vain and not missed included.
func TestTheRightsThatAreDocumentedAreEnough(t *testing.T) {
	rights, _ := documented(t)
	s := redistest.Start(t, restrict(rights)...)
	useAll(t, strings.Replace(s.URL(), "redis://", "redis://fairlane:sesame@", 1))
	if said := denied(t, s); said != "" {
		t.Errorf("refused:\n%s", said)
	}
	for url, want := range map[string]string{"redis://fairlane:open@" + s.Addr: "WRONGPASS", "redis://nobody:open@" + s.Addr: "WRONGPASS"} {
		db, err := limit.Address{URL: url}.Dial()
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		_ = db.Close()
	}
}

// TestQuotasInACluster lie in many slots, of which one command reads one.
func TestQuotasInACluster(t *testing.T) {
	rights, more := documented(t)
	c := redistest.StartCluster(t, restrict(append(rights, more...))...)
	useAll(t, strings.Replace(c.URL(), "redis://", "redis://fairlane:sesame@", 1))
	for i, node := range c.Nodes {
		if said := denied(t, node); said != "" {
			t.Errorf("node %d refused:\n%s", i, said)
		}
	}
	testBookOfACluster(t, c)
}

// testBookOfACluster sets quotas of many people as redis-cli does: who comes has theirs
// at once, and one that changes holds soon.
func testBookOfACluster(t *testing.T, c *redistest.Cluster) {
	t.Helper()
	db, err := limit.Address{URL: c.URL()}.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	source := Redis{DB: db}
	const several = 20
	for n := range several {
		set(t, source, fmt.Sprintf("user:u%d", n), fmt.Sprintf("%d/minute", n+1))
	}
	b := newBook(t, source, nil)
	b.Start()
	defer b.Stop()
	inForce := func(who *identity.Identity) string {
		d := &policy.Decision{Size: policy.SizeLight}
		b.Apply(who, d)
		if len(d.Buckets) == 0 {
			return ""
		}
		return d.Buckets[0].Text
	}
	for n := range several {
		who := named(fmt.Sprintf("u%d", n))
		b.Meet(who)
		if got, want := inForce(who), fmt.Sprintf("%d/minute", n+1); got != want {
			t.Errorf("%q holds for %s, want %s", got, who.ID, want)
		}
	}
	for n := range several {
		set(t, source, fmt.Sprintf("user:u%d", n), "99/minute")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := range several {
		for inForce(named(fmt.Sprintf("u%d", n))) != "99/minute" {
			select {
			case <-tick.C:
			case <-t.Context().Done():
				t.Fatal("what has changed never holds")
			}
		}
	}
}
