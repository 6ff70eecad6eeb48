package refusals

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// world is what several processes share.
type world struct {
	mu     sync.Mutex
	ears   []func([]byte)
	claims map[string]time.Time
}

func (w *world) Publish(data []byte) error {
	w.mu.Lock()
	ears := w.ears
	w.mu.Unlock()
	for _, ear := range ears {
		ear(data)
	}
	return nil
}

func (w *world) Subscribe(fn func([]byte)) (func(), error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ears = append(w.ears, fn)
	return func() {}, nil
}

func (w *world) Claim(_ context.Context, key string, window time.Duration) (bool, time.Time, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if until := w.claims[key]; time.Now().Before(until) {
		return false, until, nil
	}
	w.claims[key] = time.Now().Add(window)
	return true, w.claims[key], nil
}

// receiver answers what it is told to, in this process.
type receiver struct {
	mu     sync.Mutex
	bodies []string
	answer func(n int) (status int, body string)
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return w.Result(), nil
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bodies = append(r.bodies, string(body))
	status, text := r.answer(len(r.bodies))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bodies
}

func fine(int) (int, string) { return 200, `{"errcode":0}` }

// replicas are processes of one world whose alerts go to r.
func replicas(t *testing.T, n int, r *receiver, a Alert) []*Watch {
	t.Helper()
	w := &world{claims: map[string]time.Time{}}
	out := make([]*Watch, n)
	for i := range out {
		watch, err := New(Config{Alerts: []Alert{a}, Bus: w, Claims: w, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range watch.rules {
			rule.post.client.Transport = r
		}
		if err := watch.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(watch.Stop)
		out[i] = watch
	}
	return out
}

func refusal(user string) *Refused {
	return &Refused{UserKey: "user:" + user, UserName: strings.ToUpper(user[:1]) + user[1:], Email: user + "@example.com", Reason: "size", Limit: "3/minute"}
}

// TestOneAlertForAUserAndWindow spreads refusals over three processes: none alone
// would tell, all together do, once, and again when the window is over.
func TestOneAlertForAUserAndWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: fine}
		all := replicas(t, 3, r, Alert{Over: 50, Window: time.Hour, To: ToWeCom, Name: "w"})
		refuse := func(user string, n int) {
			for i := range n {
				all[i%3].Add(refusal(user))
			}
			<-time.After(2 * tellEvery)
			synctest.Wait()
		}
		refuse("ann", 50)
		refuse("bob", 49)
		if got := r.got(); len(got) != 0 {
			t.Fatalf("50 are not more than 50: %v", got)
		}
		refuse("ann", 1)
		want := `{"msgtype":"text","text":{"content":"fairlane: Ann \u003cann@example.com\u003e was refused 51 times within 60 min, which is more than 50. The last limit was 3/minute (size)."}}`
		if diff := cmp.Diff([]string{want}, r.got()); diff != "" {
			t.Fatal(diff)
		}
		refuse("ann", 300)
		if n := len(r.got()); n != 1 {
			t.Errorf("%d alerts in one window", n)
		}
		top := all[2].Top(1)
		if len(top) != 1 || top[0].UserKey != "user:ann" || top[0].Refusals != 351 || top[0].Email != "ann@example.com" {
			t.Errorf("the top is %+v", top)
		}
		<-time.After(time.Hour + time.Minute)
		if top := all[2].Top(9); len(top) != 0 {
			t.Errorf("an hour later the top is %+v", top)
		}
		refuse("ann", 60)
		if n := len(r.got()); n != 2 {
			t.Errorf("%d alerts in two windows", n)
		}
	})
}

// TestAnAlertIsRetried lets a receiver fail in each way that there is.
func TestAnAlertIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{answer: func(n int) (int, string) {
			switch n {
			case 1:
				return 500, ""
			case 2:
				return 200, `{"errcode":45009}`
			case 3:
				return 302, ""
			case 4:
				return 200, "<html>"
			}
			return fine(n)
		}}
		all := replicas(t, 1, r, Alert{Over: 0, Window: time.Hour, To: ToDingTalk})
		start := time.Now()
		all[0].Add(refusal("ann"))
		<-time.After(tellEvery + 1 + 7*time.Second)
		synctest.Wait()
		if n := len(r.got()); n != 4 {
			t.Fatalf("after %s it was sent %d times", time.Since(start), n)
		}
		<-time.After(time.Hour - time.Minute)
		synctest.Wait()
		if n := len(r.got()); n != 5 {
			t.Errorf("it was sent %d times", n)
		}
	})
}

func TestEveryReceiverHasItsForm(t *testing.T) {
	who := refusal("ann")
	who.UserName, who.Refusals, who.Last = "A<b>\n& c", 9, time.Unix(0, 0).UTC()
	const said = `fairlane: A\u003cb\u003e\u0026 c \u003cann@example.com\u003e was refused 9 times within 60 s, which is more than 2. The last limit was 3/minute (size).`
	for to, want := range map[string]string{
		ToWeCom:    `{"msgtype":"text","text":{"content":"` + said + `"}}`,
		ToDingTalk: `{"msgtype":"text","text":{"content":"` + said + `"}}`,
		ToFeishu:   `{"content":{"text":"` + said + `"},"msg_type":"text"}`,
		ToSlack:    `{"text":"` + strings.NewReplacer(`\u003c`, `\u0026lt;`, `\u003e`, `\u0026gt;`, `\u0026 `, `\u0026amp; `).Replace(said) + `"}`,
		ToWebhook: `{"alert":"w","window_s":60,"text":"` + said + `","user_key":"user:ann","user_name":"A\u003cb\u003e\n\u0026 c","email":"ann@example.com",` +
			`"refusals":9,"reason":"size","limit":"3/minute","last":"1970-01-01T00:00:00Z"}`,
	} {
		a := Alert{Over: 2, Window: time.Minute, To: to, Name: "w"}
		body, err := a.body(who)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(body)); diff != "" {
			t.Errorf("%s: %s", to, diff)
		}
	}
}

// TestALocalReceiverIsReached goes over a socket, and looks for the URL in the log
// when nobody is there any more.
func TestALocalReceiverIsReached(t *testing.T) {
	r := &receiver{answer: fine}
	srv := httptest.NewServer(r)
	var log strings.Builder
	cfg := Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), backoff: time.Microsecond}
	w, err := New(Config{Alerts: []Alert{{Over: 1, Window: time.Minute, To: ToFeishu, URL: srv.URL + "/hook/s3cret"}}, Logger: cfg.Logger, backoff: cfg.backoff})
	if err != nil {
		t.Fatal(err)
	}
	p := w.rules[0].post
	p.deliver(t.Context(), refusal("ann"))
	srv.Close()
	p.deliver(t.Context(), refusal("bob"))
	if got := r.got(); len(got) != 1 || !json.Valid([]byte(got[0])) {
		t.Errorf("it got %v", got)
	}
	if text := log.String(); strings.Contains(text, "s3cret") || !strings.Contains(text, "an alert was sent") || !strings.Contains(text, "an alert could not be sent") {
		t.Errorf("the log says %s", text)
	}
}

// TestAFloodOfStrangersCostsNoMemory lets a million addresses be refused once, and
// one person often.
func TestAFloodOfStrangersCostsNoMemory(t *testing.T) {
	tally, now := NewTally(time.Hour), time.Unix(1_800_000_000, 0)
	tally.most = 64
	for i := range 20_000 {
		tally.Add(&Refused{UserKey: fmt.Sprint("ip:", i), Refusals: 1}, now)
		if i%10 == 0 {
			tally.Add(&Refused{UserKey: "user:ann", Refusals: 2}, now)
		}
	}
	if n := len(tally.users); n > 64 {
		t.Errorf("%d users are held", n)
	}
	if top := tally.Top(1, now); top[0].UserKey != "user:ann" || top[0].Refusals != 4000 {
		t.Errorf("the top is %+v", top)
	}
	w, err := New(Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1_000_000 {
		w.Add(&Refused{UserKey: fmt.Sprint("ip:", i)})
	}
	if n := len(w.pending); n > mostPending {
		t.Errorf("%d wait to be told", n)
	}
}
