package app

import (
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"

	"fairlane/proxy"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// crowd lets so many addresses come: who is calling, what the rules give them, and what
// is taken from their buckets. One of a hundred takes all, and is refused over HTTP.
func (in *installation) crowd(n int) {
	in.t.Helper()
	const oneOf = 100
	for i := range n {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(i))
		r := httptest.NewRequestWithContext(in.t.Context(), http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"messages":[{"role":"user","content":"x"}],"max_tokens":20}`))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = netip.AddrPortFrom(netip.AddrFrom4(b), 9).String()
		if i%oneOf > 0 {
			if problem := in.draw(r, 1); problem != nil {
				in.t.Fatal(problem)
			}
			continue
		}
		_ = in.draw(r, 2) // all, unless that was done before
		w := httptest.NewRecorder()
		if in.app.edge.server.Handler().ServeHTTP(w, r); w.Code != http.StatusTooManyRequests {
			in.t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}

// draw takes what so many requests of somebody take.
func (in *installation) draw(r *http.Request, several int) *scheduler.Problem {
	in.t.Helper()
	e := in.app.edge
	id, problem := e.Identify(r)
	if problem != nil || !id.Anonymous {
		in.t.Fatalf("%+v %v", id, problem)
	}
	d, problem := e.decider.Decide(id, &policy.Query{Endpoint: openai.Chat, Model: "m", Pool: "main"})
	if problem != nil {
		in.t.Fatal(problem)
	}
	a, problem := e.limits.limiter.Take(in.t.Context(), d, proxy.Need{InputTokens: 10, MaxTokens: 20, Sequences: several})
	if problem == nil && a.Settle != nil {
		a.Settle(&scheduler.Usage{Known: true, Input: 10, Output: 5})
	}
	return problem
}

// strangers have two questions an hour.
func strangers(t testing.TB) *installation {
	t.Helper()
	in := install(t, newModel(t, whole).pool(8)+"policy: [{limits: 2/hour, tokens: 1000000/hour}]\nlog: {level: error}\n")
	in.ready()
	return in
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// series are how many of them the metrics have.
func (in *installation) series() int {
	in.t.Helper()
	families, err := in.app.reg.Gather()
	if err != nil {
		in.t.Fatal(err)
	}
	n := 0
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}

// TestStrangersMakeNoMetrics: no label is somebody.
func TestStrangersMakeNoMetrics(t *testing.T) {
	in := strangers(t)
	in.crowd(200)
	before := in.series()
	in.crowd(20_000)
	if after := in.series(); after > before+5 { // of the runtime and of the queue
		t.Errorf("%d series became %d", before, after)
	}
}

// BenchmarkAMillionAddresses is what a million addresses leave behind in all rooms of
// the edge, the whole table of buckets included, and that two million more add
// nothing to it.
func BenchmarkAMillionAddresses(b *testing.B) {
	const million, most, more = 1_000_000, 256 << 20, 16 << 20
	for b.Loop() {
		in := strangers(b)
		before := inUse()
		in.crowd(million)
		first := inUse()
		in.crowd(2 * million)
		second := inUse()
		b.ReportMetric(float64(first-before)/(1<<20), "MB")
		b.ReportMetric(float64(second-before)/(1<<20), "MB-after-two")
		if first-before > most || second-first > more {
			b.Errorf("%d MB after a million addresses, and %d after two", (first-before)>>20, (second-before)>>20)
		}
		runtime.KeepAlive(in)
		in.app.Stop()
	}
}
