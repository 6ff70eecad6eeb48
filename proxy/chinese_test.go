package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

func TestRefusalsInChinese(t *testing.T) {
	for _, tt := range []struct {
		kind          policy.BucketKind
		owner, limits string
		need          Need
		want          string
	}{
		{policy.Requests, ann, "30/minute", Need{Sequences: 30}, "您每分钟最多发送 30 个请求；2 秒后可以发送下一个。"},
		{policy.Requests, ann, "4/2 hours burst 8", Need{Sequences: 8}, "您每 2 小时最多发送 4 个请求（一次最多 8 个）；30 分钟后可以发送下一个。"},
		{policy.Requests, "ip:192.0.2.1", "5/day", Need{Sequences: 5}, "您的地址每天最多发送 5 个请求；4 小时 48 分钟后可以发送下一个。"},
		{policy.Tokens, "", "200000/minute", Need{InputTokens: 200_000}, "共用此限额的所有人合计每分钟最多使用 200,000 个 token；1 秒后才有此请求所需的额度。"},
		{policy.BySize, ann, "3/minute", Need{Sequences: 3}, "您的重型请求（长文本或长回答）每分钟最多 3 个；20 秒后可以发送下一个。"},
	} {
		l, _ := limiter()
		d := buckets(t, tt.kind, tt.owner, tt.limits)
		take(t, l, d, tt.need)
		_, p := l.Take(t.Context(), d, Need{InputTokens: 1, Sequences: 1, Chinese: true})
		if p == nil || p.Message != tt.want {
			t.Errorf("got %v, want %s", p, tt.want)
		}
	}
	l, _ := limiter()
	_, p := l.Take(t.Context(), buckets(t, policy.Requests, ann, "2/minute"), Need{Sequences: 3, Chinese: true})
	if p == nil || p.Message != "此请求按 3 个请求计算，而限额（2/minute）一次最多允许 2 个：请减小 n，或减少一个请求中的提示数量。" {
		t.Errorf("%v", p)
	}
}

// TestTheConfiguredLanguageIsTaken asks beyond a limit, and where the queue refuses,
// and changes the language meanwhile.
func TestTheConfiguredLanguageIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		l := newTestLimiter(limit.NewMemory(limit.MemoryConfig{}))
		d := buckets(t, policy.Requests, ann, "1/minute")
		f.decide = func(*identity.Identity, *policy.Query) (*policy.Decision, *scheduler.Problem) { return d, nil }
		f.take = func(d *policy.Decision, n Need) (Allowance, *scheduler.Problem) { return l.Take(t.Context(), d, n) }
		f.answers(broken(scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonPoolQueue, time.Second, "too many wait")))
		s := f.server(t, Config{QueueStatus: QueueStatus{Language: LanguageChinese}})
		for _, want := range []string{"目前排队的请求太多", "您每分钟最多发送 1 个请求"} {
			if w := ask(s, "POST", chatPath, chatBody); !strings.Contains(w.Body.String(), want) || w.Header().Get("Retry-After") == "" {
				t.Errorf("got %s, want %s", w.Body, want)
			}
		}
		s.SetQueueStatus(QueueStatus{})
		if w := ask(s, "POST", chatPath, chatBody); !strings.Contains(w.Body.String(), "You may send 1 request a minute") {
			t.Errorf("got %s", w.Body)
		}
	})
}

func TestEveryReasonOfTheQueueHasAChineseText(t *testing.T) {
	for _, r := range []scheduler.Reason{
		scheduler.ReasonUserQueue, scheduler.ReasonClassQueue, scheduler.ReasonPoolQueue, scheduler.ReasonOwnBacklog, scheduler.ReasonDeadline,
		scheduler.ReasonShed, scheduler.ReasonHold, scheduler.ReasonMemory, scheduler.ReasonNoBackend, scheduler.ReasonStore, scheduler.ReasonShuttingDown,
	} {
		if chineseReason(r) == "" {
			t.Errorf("%s has none", r)
		}
	}
}
