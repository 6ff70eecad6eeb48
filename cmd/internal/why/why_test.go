package why

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
)

// came is when every request of the stories was accepted.
func came() time.Time { return time.Date(2026, 11, 25, 14, 2, 5, 120_000_000, time.UTC) }

func after(seconds float64) time.Time {
	return came().Add(time.Duration(seconds * float64(time.Second)))
}

// alice is a request of somebody, before anything happened to it.
func alice() *scheduler.Receipt {
	return &scheduler.Receipt{
		CallID: "NFB2kAlPhaBetaGamma001", At: came(), Pool: "main", Class: "standard", User: "user:alice@example.com", Chat: "c-1",
		Edge: &scheduler.EdgeReceipt{
			RequestID: "req-1", UserName: "Alice", Email: "alice@example.com", Model: "qwen2.5-7b", Endpoint: "chat", Stream: true, Sequences: 1,
			ClassFrom: "default_class", Weight: 1, WeightFrom: "built-in rule", MaxRunning: 8, MaxRunningFrom: "built-in rule", MaxWaitMS: 120_000,
		},
		Queue: &scheduler.QueueReceipt{Expected: scheduler.Expectation{Input: 300, Cached: 250, Output: 128}},
	}
}

// served lets it be granted after so long, and answered.
func served(r *scheduler.Receipt, wait float64) *scheduler.Receipt {
	e, q := r.Edge, r.Queue
	e.EndedAt, e.Outcome, e.Status, e.Granted = after(wait+8), scheduler.Completed, 200, true
	e.WaitMS, e.TTFTMS, e.DurationMS = wait*1000, wait*1000+420, wait*1000+8000
	e.Backend, e.Attempts = "gpu-a:8000", 1
	u := scheduler.Usage{Input: 312, Cached: 256, Output: 201, Known: true, CachedKnown: true}
	e.Usage, e.Cost = u, 483.6
	q.Usage, q.Settled, q.End, q.EndedAt = u, 483.6, "completed", after(wait+8)
	q.Attempts = append(q.Attempts, scheduler.AttemptReceipt{Backend: "gpu-a:8000", At: after(wait), EndedAt: after(wait + 8), End: "completed", Charged: 331})
	return r
}

func blocked(r *scheduler.Receipt, by string, from, to float64) *scheduler.Receipt {
	q := r.Queue
	q.Blocked = append(q.Blocked, scheduler.BlockedTime{By: by, MS: (to - from) * 1000})
	q.Times = append(q.Times, scheduler.BlockedSpan{By: by, From: after(from), To: after(to)})
	return r
}

func crowd() []scheduler.ClassStanding {
	return []scheduler.ClassStanding{{Class: "vip", Weight: 8, Waiting: 30, Running: 5}, {Class: "standard", Weight: 3, Waiting: 12, Running: 3}}
}

// stories are what people ask about.
func stories() map[string]*scheduler.Receipt {
	out := map[string]*scheduler.Receipt{}
	out["no_wait"] = served(alice(), 0.004)

	r := blocked(served(alice(), 24.5), scheduler.BlockedSlots, 0, 24.5)
	r.Queue.Arrived = scheduler.Standing{Position: 10, Own: 7, OwnCost: 2900, Other: 2, OtherCost: 700, ETAMS: 22_000, Blocked: "slots", Classes: crowd()[1:]}
	out["own_backlog"] = r

	r = blocked(served(alice(), 72.25), scheduler.BlockedSlots, 0, 72.25)
	r.Queue.Arrived = scheduler.Standing{Position: 35, Other: 34, OtherCost: 16_400, ETAMS: 60_000, Blocked: "slots", Classes: crowd()}
	out["behind_vips"] = r

	r = blocked(served(alice(), 16), scheduler.BlockedKV, 1, 15)
	r.Queue.Arrived = scheduler.Standing{Position: 1, Blocked: "kv", Classes: []scheduler.ClassStanding{{Class: "standard", Weight: 3, Running: 4}}}
	out["kv"] = blocked(r, scheduler.BlockedSlots, 0, 1)

	r = blocked(served(alice(), 30), scheduler.BlockedMaxRunning, 0, 30)
	r.Edge.MaxRunning, r.Edge.MaxRunningFrom = 4, "policy[7] user=alice@example.com"
	r.Queue.Arrived = scheduler.Standing{Position: 1, Blocked: "max_running", Classes: []scheduler.ClassStanding{{Class: "standard", Weight: 3, Waiting: 1, Running: 4}}}
	out["max_running"] = r

	r = blocked(alice(), scheduler.BlockedNoBackend, 0, 120)
	r.Edge.EndedAt, r.Edge.Outcome, r.Edge.Status, r.Edge.DurationMS = after(120), scheduler.Refused, 503, 120_000
	r.Edge.Code, r.Edge.Reason, r.Edge.RetryAfter = scheduler.CodeNoBackend, scheduler.ReasonNoBackend, 34
	r.Edge.Message = "no model server was up for 120 s; please try again later"
	r.Queue.End, r.Queue.EndedAt = "refused", after(120)
	out["no_backend"] = r

	r = alice()
	r.Queue.Attempts = []scheduler.AttemptReceipt{{Backend: "gpu-b:8000", At: after(0.01), EndedAt: after(3.2), End: "died", Charged: 331}}
	r = served(blocked(r, scheduler.BlockedSlots, 3.2, 5), 5)
	r.Edge.WaitMS, r.Edge.Attempts = 10, 2
	out["retried"] = r

	for name, ttft := range map[string]float64{"broke_off": 420, "failed": 0} {
		r = alice()
		r.Queue.Arrived = scheduler.Standing{Position: 1, Blocked: scheduler.BlockedNoBackend}
		r.Queue.Attempts = []scheduler.AttemptReceipt{{Backend: "gpu-a:8000", At: after(0.01), EndedAt: after(3), End: "failed", Charged: 331}}
		r.Edge.EndedAt, r.Edge.Outcome, r.Edge.Status, r.Edge.Code = after(3), scheduler.Failed, 200, scheduler.CodeBackendFailed
		r.Edge.Granted, r.Edge.WaitMS, r.Edge.TTFTMS, r.Edge.DurationMS = true, 10, ttft, 3000
		r.Queue.End, r.Queue.EndedAt = "failed", after(3)
		out[name] = r
	}

	r = alice()
	r.CallID, r.Queue = "", nil
	r.Edge.EndedAt, r.Edge.Outcome, r.Edge.Status, r.Edge.DurationMS = after(0.001), scheduler.Refused, 429, 1
	r.Edge.Code, r.Edge.Reason, r.Edge.Limit, r.Edge.RetryAfter = scheduler.CodeRateLimit, scheduler.ReasonRequests, "30/minute", 12
	r.Edge.Message = "You may send 30 requests a minute; the next one in 12 s."
	out["limit"] = r

	r = alice()
	r.Edge.EndedAt, r.Edge.Outcome, r.Edge.Status, r.Edge.DurationMS = after(41.5), scheduler.Cancelled, 499, 41_500
	r.Queue.Arrived = scheduler.Standing{Position: 35, Other: 34, OtherCost: 16_400, Classes: crowd()}
	r.Queue.End, r.Queue.EndedAt = "cancelled", after(41.5)
	out["left"] = blocked(r, scheduler.BlockedSlots, 0, 41.5)

	r = blocked(alice(), scheduler.BlockedSlots, 0, 20)
	r.Queue.Arrived = scheduler.Standing{Position: 35, Other: 34, OtherCost: 16_400, Classes: crowd()}
	r.Queue.Now = &scheduler.Standing{Position: 12, Other: 11, ETAMS: 25_000, Blocked: "slots"}
	out["waits"] = r

	r = alice()
	r.Edge.ClassFrom, r.Edge.Weight, r.Edge.WeightFrom = "policy[3] group=interns", 0.5, "policy[6] group=interns"
	r.Queue.Attempts = []scheduler.AttemptReceipt{{Backend: "gpu-a:8000", At: after(4), Charged: 331}}
	r.Queue.Now = &scheduler.Standing{}
	out["runs"] = r

	r = alice()
	r.Queue = nil
	out["lost_trace"] = r

	r = alice()
	r.Edge = nil
	r.Queue.TookOver, r.Queue.End, r.Queue.EndedAt = true, "completed", after(20)
	r.Queue.Attempts = []scheduler.AttemptReceipt{{Backend: "gpu-a:8000", At: after(9), EndedAt: after(20), End: "completed", Charged: 331}}
	out["leader_alone"] = r
	return out
}

func TestStories(t *testing.T) {
	t.Parallel()
	for name, r := range stories() {
		var b strings.Builder
		if err := Tell(&b, r, after(20), time.UTC); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name+".txt")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
