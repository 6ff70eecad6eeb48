package proxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"fairlane/scheduler"
)

// drawScript draws what might happen to a call, in a possible order and at
// possible times.
func drawScript(t *rapid.T) []any {
	pause := func() any { return time.Duration(rapid.IntRange(0, 30).Draw(t, "pause")) * time.Second }
	var out []any
	for range rapid.IntRange(0, 3).Draw(t, "queued") {
		out = append(out, queued(1), pause())
	}
	if rapid.Bool().Draw(t, "granted") {
		out = append(out, granted(), pause())
		if rapid.Bool().Draw(t, "headed") {
			out = append(out, rapid.SampledFrom([]scheduler.CallEvent{head(200, sse), head(200, "application/json"), head(400, "application/json")}).Draw(t, "head"), pause())
			for range rapid.IntRange(0, 4).Draw(t, "data") {
				out = append(out, data(rapid.SampledFrom([]string{chunk, doneEvent, chunk[:10], `{"error":{"message":"x"}}`}).Draw(t, "piece")), pause())
			}
		}
	}
	last := rapid.SampledFrom([]scheduler.CallEvent{
		end(scheduler.Completed), end(scheduler.Invalid), end(scheduler.Failed), end(""),
		broken(scheduler.Problemf(scheduler.CodeQueueTimeout, "x")), broken(scheduler.Problemf(scheduler.CodeBackendFailed, "x")),
		broken(scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonHold, time.Second, "x")),
	}).Draw(t, "last")
	return append(out, last)
}

// Whatever happens to a call, and whenever its client leaves or the server
// stops: it ends once, its call is given back, and no memory stays held.
func TestEveryRequestEndsOnce(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		script := drawScript(r)
		body := rapid.SampledFrom([]string{chatBody, streamBody}).Draw(r, "body")
		leaves := rapid.SampledFrom([]time.Duration{0, time.Second, 20 * time.Second, 24 * time.Hour}).Draw(r, "leaves")
		stops := rapid.SampledFrom([]time.Duration{5 * time.Second, 24 * time.Hour}).Draw(r, "stops")
		synctest.Test(t, func(t *testing.T) { playScript(t, script, body, leaves, stops) })
	})
}

func playScript(t *testing.T, script []any, body string, leaves, stops time.Duration) {
	t.Helper()
	f := newFakes()
	settled := 0
	f.take = takeAll(func(scheduler.Usage) { settled++ })
	call := newFakeCall()
	f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
	s := f.server(t, Config{QueueStatus: QueueStatus{Heartbeat: 10 * time.Second}})
	c, _ := start(t, s)
	go func() {
		for _, step := range script {
			switch step := step.(type) {
			case time.Duration:
				<-time.After(step)
			case scheduler.CallEvent:
				call.events <- step
			}
		}
	}()
	stop := time.AfterFunc(stops, s.Drain)
	defer stop.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), leaves+time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://edge"+chatPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if resp, err := c.Do(req); err == nil {
		answer, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK && resp.ContentLength < 0 && len(answer) == 0 && ctx.Err() == nil {
			t.Error("an empty stream")
		}
	}
	<-time.After(10 * time.Minute) // long after the script's end
	synctest.Wait()
	if n := len(f.log.requests()); n != 1 {
		t.Fatalf("%d ends", n)
	}
	if n := f.counted(t, "fairlane_requests_total", nil); n != 1 {
		t.Errorf("%v requests were counted", n)
	}
	select {
	case <-call.cancelled:
	default:
		t.Error("the call was not given back")
	}
	if settled != 1 || s.held.held.Load() != 0 {
		t.Errorf("settled %d times, %d bytes held", settled, s.held.held.Load())
	}
}
