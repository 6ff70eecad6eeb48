package proxy

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// buckets are what a decision draws from: kind, owner and limits in turn.
func buckets(tb testing.TB, kindOwnerText ...any) *policy.Decision {
	tb.Helper()
	d := &policy.Decision{Class: "standard", MaxSequences: 100, MaxWait: time.Minute, Size: policy.SizeHeavy}
	for i := 0; i < len(kindOwnerText); i += 3 {
		kind, owner, text := kindOwnerText[i].(policy.BucketKind), kindOwnerText[i+1].(string), kindOwnerText[i+2].(string)
		all, err := limit.Parse(text)
		if err != nil {
			tb.Fatal(err)
		}
		d.Buckets = append(d.Buckets, policy.Bucket{Kind: kind, Scope: strconv.Itoa(int(kind)), Owner: owner, Limits: all, Text: text})
	}
	return d
}

const ann = "user:ann"

func newTestLimiter(store limit.Store) *Buckets {
	l, err := NewLimiter(LimiterConfig{Store: store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err) // no metric is registered
	}
	return l
}

// limiter is one in memory whose time a test moves, without jitter.
func limiter() (*Buckets, *time.Time) {
	now := new(time.Unix(1_800_000_000, 0))
	l := newTestLimiter(limit.NewMemory(limit.MemoryConfig{Now: func() time.Time { return *now }}))
	l.jitter = func() float64 { return 0 }
	return l, now
}

func take(tb testing.TB, l *Buckets, d *policy.Decision, need Need) Allowance {
	tb.Helper()
	a, p := l.Take(context.Background(), d, need)
	if p != nil {
		tb.Fatal(p)
	}
	return a
}

func TestLimiterSaysWhatIsLeft(t *testing.T) {
	l, now := limiter()
	d := buckets(t, policy.Requests, ann, "5/second; 30/minute", policy.Tokens, ann, "1000/minute", policy.BySize, ann, "3/minute")
	a := take(t, l, d, Need{InputTokens: 100, MaxTokens: 200, Sequences: 1})
	if diff := cmp.Diff(&Level{Limit: 3, Remaining: 2, Reset: 20 * time.Second}, a.Requests); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&Level{Limit: 1000, Remaining: 700, Reset: 18 * time.Second}, a.Tokens); diff != "" {
		t.Error(diff)
	}
	*now = now.Add(500 * time.Millisecond)
	if a = take(t, l, buckets(t, policy.Requests, ann, "5/second; 30/minute"), Need{Sequences: 3}); a.Tokens != nil || a.Settle != nil {
		t.Errorf("%+v", a)
	}
	if diff := cmp.Diff(&Level{Limit: 5, Remaining: 2, Reset: 600 * time.Millisecond}, a.Requests); diff != "" {
		t.Error(diff)
	}
	a = take(t, l, buckets(t, policy.Requests, "user:bob", "5/second; 5/hour; 5/minute"), Need{})
	if diff := cmp.Diff(&Level{Limit: 5, Remaining: 4, Reset: 12 * time.Minute}, a.Requests); diff != "" {
		t.Error(diff)
	}
	if a = take(t, l, &policy.Decision{}, Need{}); a.Requests != nil || a.Tokens != nil || a.Settle != nil {
		t.Errorf("%+v", a)
	}
}

func TestLimiterRefuses(t *testing.T) {
	refusal := func(reason scheduler.Reason, text, message string, retry time.Duration) *scheduler.Problem {
		return &scheduler.Problem{Code: scheduler.CodeRateLimit, Reason: reason, Limit: text, Message: message, RetryAfter: retry, NoRetry: retry > time.Minute}
	}
	const s = time.Second
	tests := []struct {
		name   string
		d      *policy.Decision
		before []Need
		need   Need
		want   *scheduler.Problem
	}{
		{
			"requests", buckets(t, policy.Requests, ann, "30/minute"),
			[]Need{{Sequences: 30}},
			Need{Sequences: 1},
			refusal(scheduler.ReasonRequests, "30/minute", "You may send 30 requests a minute; the next one in 2 s.", 2*s),
		},
		{
			"a burst", buckets(t, policy.Requests, ann, "30/minute burst 1"),
			[]Need{{}},
			Need{},
			refusal(scheduler.ReasonRequests, "30/minute burst 1", "You may send 30 requests a minute, 1 at once; the next one in 2 s.", 2*s),
		},
		{
			"an address", buckets(t, policy.Requests, "ip:192.0.2.1", "1 per hour"),
			[]Need{{}},
			Need{},
			refusal(scheduler.ReasonRequests, "1 per hour", "Your address may send 1 request an hour; the next one in 60 min.", time.Hour),
		},
		{
			"shared", buckets(t, policy.Requests, "", "2000/7 days"),
			[]Need{{Sequences: 2000}},
			Need{},
			refusal(scheduler.ReasonRequests, "2000/7 days", "All who share this limit together may send 2,000 requests in 7 days; the next one in 5 min 3 s.", 303*s),
		},
		{
			"several sequences", buckets(t, policy.Requests, ann, "30/minute"),
			[]Need{{Sequences: 30}},
			Need{Sequences: 4},
			refusal(scheduler.ReasonRequests, "30/minute", "You may send 30 requests a minute; this one counts as 4 and may be sent again in 8 s.", 8*s),
		},
		{
			"the longest wait", buckets(t, policy.Requests, ann, "4/second; 4/minute; 4/hour burst 10"),
			[]Need{{Sequences: 4}},
			Need{Sequences: 1},
			refusal(scheduler.ReasonRequests, "4/second; 4/minute; 4/hour burst 10", "You may send 4 requests a minute; the next one in 15 s.", 15*s),
		},
		{
			"two limits of one period", buckets(t, policy.Requests, ann, "60/minute burst 5; 30/minute"),
			[]Need{{Sequences: 5}},
			Need{Sequences: 1},
			refusal(scheduler.ReasonRequests, "60/minute burst 5; 30/minute", "You may send 60 requests a minute, 5 at once; the next one in 1 s.", s),
		},
		{
			"tokens", buckets(t, policy.Tokens, ann, "200000/minute"),
			[]Need{{InputTokens: 199_000}},
			Need{InputTokens: 5000, MaxTokens: 6000},
			refusal(scheduler.ReasonTokens, "200000/minute", "You may use 200,000 tokens a minute; there is room for this request in 3 s.", 3*s),
		},
		{
			"more tokens than there ever are", buckets(t, policy.Tokens, ann, "60/minute"),
			[]Need{{InputTokens: 20}},
			Need{InputTokens: 5000, MaxTokens: math.MaxInt32},
			refusal(scheduler.ReasonTokens, "60/minute", "You may use 60 tokens a minute; there is room for this request in 20 s.", 20*s),
		},
		{
			"a size", buckets(t, policy.Requests, ann, "30/minute", policy.BySize, ann, "3/minute"),
			[]Need{{}, {}, {}},
			Need{},
			refusal(scheduler.ReasonSize, "3/minute", "Your heavy requests (long texts or long answers) are limited to 3 a minute; the next one in 20 s.", 20*s),
		},
		{
			"a shared size", buckets(t, policy.BySize, "", "1/minute"),
			[]Need{{}},
			Need{},
			refusal(scheduler.ReasonSize, "1/minute", "The heavy requests (long texts or long answers) of all who share this limit are limited to 1 a minute; the next one in 60 s.", 60*s),
		},
		{
			"never", buckets(t, policy.Requests, ann, "30/minute burst 3"), nil,
			Need{Sequences: 4},
			&scheduler.Problem{Code: scheduler.CodeRequestTooLarge, Param: "n", Limit: "30/minute burst 3", Message: "this request counts as 4 requests, and its limit (30/minute burst 3) lets through 3 at once: lower n, or send fewer prompts in one request"},
		},
	}
	for _, tt := range tests {
		l, _ := limiter()
		for _, need := range tt.before {
			take(t, l, tt.d, need)
		}
		a, p := l.Take(t.Context(), tt.d, tt.need)
		if diff := cmp.Diff(tt.want, p); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		if a.Settle != nil || a.Requests == nil && a.Tokens == nil {
			t.Errorf("%s: %+v", tt.name, a)
		}
	}
}

func TestRetryAfterHasJitter(t *testing.T) {
	tests := []struct {
		text        string
		least, most time.Duration
	}{
		{"30/minute", 2 * time.Second, 3 * time.Second},
		{"1/10seconds", 10 * time.Second, 12 * time.Second},
		{"1/55 seconds", 55 * time.Second, 60 * time.Second}, // a minute is what clients keep
		{"1/minute", 60 * time.Second, 60 * time.Second},
		{"1/100 seconds", 100 * time.Second, 120 * time.Second},
	}
	for _, tt := range tests {
		l, _ := limiter()
		d := buckets(t, policy.Requests, ann, tt.text)
		take(t, l, d, Need{Sequences: int(d.Buckets[0].Limits[0].N)})
		var messages []string
		for _, at := range []float64{0, math.Nextafter(1, 0)} {
			l.jitter = func() float64 { return at }
			_, p := l.Take(t.Context(), d, Need{})
			if want := []time.Duration{tt.least, tt.most}[len(messages)]; p.RetryAfter != want || p.NoRetry != (tt.least > time.Minute) {
				t.Errorf("%s, jitter %v: %+v, want %v", tt.text, at, p, want)
			}
			messages = append(messages, p.Message)
		}
		if messages[0] != messages[1] {
			t.Errorf("jitter in a message: %q", messages)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 12_345_678: "12,345,678"} {
		if got := grouped(n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTokensAreSettled(t *testing.T) {
	d := buckets(t, policy.Requests, ann, "100/minute", policy.Tokens, ann, "1000/minute; 5000/hour")
	tests := []struct {
		name string
		need Need
		used *scheduler.Usage
		want int64 // left of 1000
	}{
		{"less than reserved", Need{InputTokens: 100, MaxTokens: 400}, &scheduler.Usage{Input: 80, Output: 20}, 900},
		{"cached tokens are free", Need{InputTokens: 500}, &scheduler.Usage{Input: 500, Cached: 480, Output: 30}, 950},
		{"more than reserved", Need{InputTokens: 100}, &scheduler.Usage{Input: 100, Output: 300}, 600},
		{"as reserved", Need{InputTokens: 100}, &scheduler.Usage{Input: 100}, 900},
		{"nothing", Need{InputTokens: 100, MaxTokens: 400}, &scheduler.Usage{}, 1000},
		{"not known", Need{InputTokens: 100, MaxTokens: 400}, nil, 500},
		{"more than there is", Need{InputTokens: 100, MaxTokens: 99_000}, &scheduler.Usage{Input: 100, Output: 4000}, 0},
		{"cut to the burst, less used", Need{InputTokens: 100, MaxTokens: 99_000}, &scheduler.Usage{Input: 100, Output: 100}, 800},
		{"more cached than read", Need{InputTokens: 100}, &scheduler.Usage{Input: 10, Cached: 20, Output: 50}, 950},
	}
	for _, tt := range tests {
		l, now := limiter()
		a := take(t, l, d, tt.need)
		*now = now.Add(time.Nanosecond) // the end is later
		a.Settle(tt.used)
		a, _ = l.Take(t.Context(), d, Need{InputTokens: 1})
		if got := a.Tokens.Remaining; got != max(0, tt.want-1) {
			t.Errorf("%s: %d remain, want %d", tt.name, got, tt.want-1)
		}
		if a.Requests.Remaining > 99 {
			t.Errorf("%s: %d requests remain: they are not given back", tt.name, a.Requests.Remaining)
		}
	}
}

func TestTokensInDebtAreWaitedFor(t *testing.T) {
	l, now := limiter()
	d := buckets(t, policy.Tokens, ann, "600/minute")
	take(t, l, d, Need{InputTokens: 600}).Settle(&scheduler.Usage{Input: 600, Output: 300})
	_, p := l.Take(t.Context(), d, Need{InputTokens: 100})
	if p == nil || p.RetryAfter != 40*time.Second {
		t.Fatalf("%+v", p)
	}
	*now = now.Add(p.RetryAfter)
	take(t, l, d, Need{InputTokens: 100})
}

// flaky is a store that can fail.
type flaky struct {
	limit.Store
	err   error
	calls int
}

func (f *flaky) Acquire(ctx context.Context, c []limit.Charge) (limit.Result, error) {
	if f.calls++; f.err != nil {
		return limit.Result{}, f.err
	}
	return f.Store.Acquire(ctx, c)
}

func (f *flaky) Settle(ctx context.Context, c []limit.Charge) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.err != nil {
		return f.err
	}
	return f.Store.Settle(ctx, c)
}

func TestMemoryDecidesWhileTheStoreIsAway(t *testing.T) {
	log := &lines{}
	store := &flaky{Store: limit.NewMemory(limit.MemoryConfig{})}
	l := newTestLimiter(store)
	l.logger = slog.New(slog.NewJSONHandler(log, nil))
	d := buckets(t, policy.Requests, ann, "2/hour", policy.Tokens, ann, "100/hour")
	before := take(t, l, d, Need{InputTokens: 10})
	store.err = errors.New("connection refused")
	during := take(t, l, d, Need{InputTokens: 60})
	take(t, l, d, Need{InputTokens: 10})
	if _, p := l.Take(t.Context(), d, Need{}); p == nil || p.Code != scheduler.CodeRateLimit {
		t.Errorf("memory let everybody through: %+v", p)
	}
	before.Settle(&scheduler.Usage{Input: 5}) // is lost
	store.err = nil
	during.Settle(&scheduler.Usage{Input: 1}) // belongs to memory, and gives nothing back in the store
	if a := take(t, l, d, Need{InputTokens: 10}); a.Tokens.Remaining != 80 || a.Requests.Remaining != 0 {
		t.Errorf("%+v %+v", a.Tokens, a.Requests)
	}
	var said []any
	for _, line := range log.all {
		said = append(said, line["msg"])
	}
	if diff := cmp.Diff([]any{"the store of limits does not answer; each process keeps its own until it does", "the store of limits answers again"}, said); diff != "" {
		t.Error(diff)
	}

	ctx, cancel := context.WithCancel(t.Context())
	store.err = context.Canceled
	cancel()
	if _, p := l.Take(ctx, buckets(t, policy.Requests, "user:bob", "2/hour"), Need{}); p != nil || len(log.all) != 2 {
		t.Errorf("%v, %v", p, log.all)
	}
}

func TestWhoLeftIsSettled(t *testing.T) {
	store := &flaky{Store: limit.NewMemory(limit.MemoryConfig{})}
	l := newTestLimiter(store)
	d := buckets(t, policy.Tokens, ann, "100/hour")
	ctx, cancel := context.WithCancel(t.Context())
	a, p := l.Take(ctx, d, Need{InputTokens: 90})
	if p != nil {
		t.Fatal(p)
	}
	cancel()
	a.Settle(&scheduler.Usage{Input: 10})
	take(t, l, d, Need{InputTokens: 90})
}

// TestLimitAtTheEdge is a refusal as a client meets it.
func TestLimitAtTheEdge(t *testing.T) {
	f := newFakes()
	l, now := limiter()
	d := buckets(t, policy.Requests, ann, "3/minute", policy.Tokens, ann, "100000/minute")
	f.decide = func(*identity.Identity, *policy.Query) (*policy.Decision, *scheduler.Problem) { return d, nil }
	f.take = func(d *policy.Decision, n Need) (Allowance, *scheduler.Problem) {
		return l.Take(context.Background(), d, n)
	}
	f.answers(head(200, "application/json"), data("{}"), end(scheduler.Completed))
	s := f.server(t, Config{})
	two := strings.Replace(chatBody, `"gpt"`, `"gpt","n":2,"max_tokens":1000`, 1)
	if resp := ask(s, "POST", chatPath, two); resp.Code != http.StatusOK || resp.Header().Get("X-Ratelimit-Remaining-Requests") != "1" || resp.Header().Get("X-Ratelimit-Remaining-Tokens") != "97999" {
		t.Errorf("%d %v", resp.Code, resp.Header())
	}
	*now = now.Add(time.Millisecond)
	resp := ask(s, "POST", chatPath, two)
	code, _, message := errorOf(t, resp.Body.String())
	if resp.Code != http.StatusTooManyRequests || code != "rate_limit_exceeded" || message != "You may send 3 requests a minute; this one counts as 2 and may be sent again in 20 s." {
		t.Errorf("%d %s", resp.Code, resp.Body)
	}
	for name, want := range map[string]string{
		"Retry-After": "20", "X-Should-Retry": "", "X-Ratelimit-Limit-Requests": "3", "X-Ratelimit-Remaining-Requests": "1", "X-Ratelimit-Reset-Requests": "39.999s",
		"X-Ratelimit-Limit-Tokens": "100000", "X-Ratelimit-Remaining-Tokens": "99992", // 10 in, 4 of them cached, 3 out: settled
	} {
		if got := resp.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	all := f.log.requests()
	if line := all[len(all)-1]; line["outcome"] != "refused" || line["reason"] != "requests" || line["limit"] != "3/minute" || line["retry_after_s"] != 20.0 {
		t.Errorf("%v", line)
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := newTestLimiter(limit.NewMemory(limit.MemoryConfig{}))
	for _, bb := range []struct {
		name string
		d    *policy.Decision
	}{
		{"granted", buckets(b, policy.Requests, ann, "100000000/second", policy.BySize, ann, "100000000/second")},
		{"granted with tokens", buckets(b, policy.Requests, ann, "100000000/second", policy.Tokens, ann, "100000000000/second", policy.BySize, ann, "100000000/second")},
		{"refused", buckets(b, policy.Requests, "user:bob", "1/360 days")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			ctx := b.Context()
			b.ReportAllocs()
			for b.Loop() {
				a, _ := l.Take(ctx, bb.d, Need{InputTokens: 10, MaxTokens: 20, Sequences: 1})
				if a.Settle != nil {
					a.Settle(&scheduler.Usage{Input: 10, Output: 5})
				}
			}
		})
	}
}

// TestTheLongestRequestFitsIntoABucketOfTokens has a limit that is less than the model
// takes: the request is counted whole, and what flows back is as before.
func TestTheLongestRequestFitsIntoABucketOfTokens(t *testing.T) {
	l, now := limiter()
	d := buckets(t, policy.Tokens, ann, "1000/minute")
	need := Need{InputTokens: 3500, MaxTokens: 500, Longest: 4096, Sequences: 1}
	if a := take(t, l, d, need); a.Tokens.Limit != 4096 || a.Tokens.Remaining != 96 {
		t.Errorf("%+v", a.Tokens)
	}
	if _, p := l.Take(t.Context(), d, need); p == nil || p.Message != "You may use 1,000 tokens a minute, 4,096 at once; there is room for this request in 3 min 55 s." {
		t.Errorf("%v", p)
	}
	*now = now.Add(4 * time.Minute)
	take(t, l, d, need)
	d = buckets(t, policy.Tokens, ann, "1/year")
	if a := take(t, l, d, Need{InputTokens: 5, Longest: 1 << 20}); a.Tokens.Limit != 1 {
		t.Errorf("a bucket that never fills is %+v", a.Tokens)
	}
}

// TestAReplicaGrantsItsPart while the store is away, and corrects only that.
func TestAReplicaGrantsItsPart(t *testing.T) {
	reg := prometheus.NewRegistry()
	l, err := NewLimiter(LimiterConfig{
		Store: &flaky{err: errors.New("connection refused")}, Replicas: 3, Metrics: reg, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	d := buckets(t, policy.Requests, ann, "9/hour", policy.Tokens, ann, "300/hour")
	a := take(t, l, d, Need{InputTokens: 250}) // all of the part, not never
	if a.Tokens.Remaining != 0 || a.Tokens.Limit != 300 || a.Requests.Remaining != 2 || a.Requests.Limit != 9 {
		t.Errorf("%+v %+v", a.Tokens, a.Requests)
	}
	a.Settle(&scheduler.Usage{Input: 60})
	if a = take(t, l, d, Need{InputTokens: 40}); a.Tokens.Remaining != 0 {
		t.Errorf("%+v", a.Tokens)
	}
	if _, p := l.Take(t.Context(), d, Need{InputTokens: 1}); p == nil || p.Code != scheduler.CodeRateLimit || !strings.Contains(p.Message, "300 tokens an hour") {
		t.Errorf("more than the part was given: %v", p)
	}
	l.Look(t.Context(), d) // which decides nothing
	all, err := reg.Gather()
	if err != nil || len(all) != 1 || all[0].GetName() != "fairlane_limit_store_fallback_total" || all[0].GetMetric()[0].GetCounter().GetValue() != 3 {
		t.Errorf("%v, %v", all, err)
	}
}
