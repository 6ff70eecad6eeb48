package vllmsim

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAClientThatGoesFreesItsPlaceAtOnce(t *testing.T) {
	for _, stream := range []string{"", `,"stream":true`} {
		inBubble(t, Config{MaxNumSeqs: 1}, func(b bubble) {
			t, s := b.T, b.server
			gone := make(map[string]bool)
			var mu sync.Mutex
			start := func(name string) context.CancelFunc {
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					defer func() {
						mu.Lock()
						defer mu.Unlock()
						gone[name] = aborted(recover())
					}()
					chatOf(`,"ignore_eos":true`+stream).with(ctx, s)
				}()
				pass(time.Second)
				return cancel
			}
			first, second, third := start("first"), start("second"), start("third")
			wantSample(t, s, "vllm:num_requests_running", 1)
			wantSample(t, s, "vllm:num_requests_waiting", 2)
			before := time.Now()
			second()
			synctest.Wait()
			wantSample(t, s, "vllm:num_requests_waiting", 1)
			first()
			synctest.Wait()
			wantSample(t, s, "vllm:num_requests_running", 0)
			if took := time.Since(before); took != 0 {
				t.Errorf("it takes %v", took)
			}
			pass(time.Second)
			wantSample(t, s, "vllm:num_requests_running", 1)
			third()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if d := cmp.Diff(map[string]bool{"first": true, "second": true, "third": true}, gone); d != "" {
				t.Error(d)
			}
			wantSample(t, s, `vllm:request_success_total{finished_reason="abort"`, 0)
			wantSample(t, s, "vllm:kv_cache_usage_perc", 0)
		})
	}
}

func TestAFullQueueIs503(t *testing.T) {
	for _, stream := range []string{"", `,"stream":true`} {
		inBubble(t, Config{Profile: "tiny-cpu", MaxQueuedReqs: 4}, func(b bubble) {
			t, s := b.T, b.server
			answers := make([]answered, 14)
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() { answers[i] = chatOf(`,"max_tokens":5`+stream).on(t, s) })
			}
			all.Wait()
			refused := 0
			for _, a := range answers {
				if a.status != http.StatusServiceUnavailable {
					continue
				}
				refused++
				want := `{"error":{"message":"The engine is currently busy and cannot accept new requests. ` +
					`Please try again later or on a different instance.","type":"Service Unavailable","param":null,"code":503}}`
				if a.body != want || a.header.Get("Content-Type") != "application/json" || a.header.Get("Retry-After") != "" {
					t.Errorf("%v %s", a.header, a.body)
				}
			}
			if refused != 10 {
				t.Errorf("%d of 14 are refused, not 10", refused)
			}
			wantSample(t, s, `vllm:admission_rejections_total{reason="max_num_queued_reqs"`, 10)
			if a := chatOf(`,"n":5,"max_tokens":1`).on(t, s); a.status != http.StatusServiceUnavailable {
				t.Errorf("five choices with a bound of four: %d", a.status)
			}
			if a := chatOf(`,"n":4,"max_tokens":1`).on(t, s); a.status != http.StatusOK {
				t.Errorf("four choices with a bound of four: %d", a.status)
			}
		})
	}
}

func TestABacklogOfPromptsIs503(t *testing.T) {
	inBubble(t, Config{MaxNumSeqs: 1, MaxQueuedTokens: 5}, func(b bubble) {
		t, s := b.T, b.server
		var all sync.WaitGroup
		for i, want := range []int{http.StatusOK, http.StatusOK, http.StatusServiceUnavailable} { // runs, waits, is refused
			all.Go(func() {
				a := chatOf(`,"max_tokens":5`).on(t, s)
				if a.status != want || want != http.StatusOK && !strings.Contains(a.body, "prefill token backlog") {
					t.Errorf("%d: %d %s", i, a.status, a.body)
				}
			})
			pass(time.Millisecond)
		}
		all.Wait()
		wantSample(t, s, `vllm:admission_rejections_total{reason="max_num_queued_tokens"`, 1)
	})
}

func TestAFullCachePreemptsAndLosesNothing(t *testing.T) {
	rq := func(i int) request {
		return request{path: completionPath, body: fmt.Sprintf(`{"prompt":"%d","max_tokens":200,"ignore_eos":true}`, i)}
	}
	run := func(blocks int) (texts []string, preemptions float64) {
		inBubble(t, Config{KVBlocks: blocks, MaxModelLen: 300}, func(b bubble) {
			t, s := b.T, b.server
			texts = make([]string, 4)
			var all sync.WaitGroup
			for i := range texts {
				all.Go(func() { texts[i], _ = at(t, rq(i).on(t, s).decode(t), "choices", 0, "text").(string) })
			}
			all.Wait()
			preemptions = sample(t, s, "vllm:num_preemptions_total")
			wantSample(t, s, "vllm:generation_tokens_total", 800)
		})
		return texts, preemptions
	}
	free, none := run(1000)
	tight, some := run(30)
	if none != 0 || some == 0 {
		t.Errorf("%g preemptions with room, %g without", none, some)
	}
	if d := cmp.Diff(free, tight); d != "" {
		t.Error(d)
	}
}

func TestItsQueueGoesByPriority(t *testing.T) {
	for _, tt := range []struct {
		scheduling string
		want       []string
	}{
		{"fcfs", []string{"5", "1", "header", "-3"}},
		{"priority", []string{"header", "-3", "1", "5"}},
	} {
		inBubble(t, Config{MaxNumSeqs: 1, Scheduling: tt.scheduling}, func(b bubble) {
			t, s := b.T, b.server
			var order []string
			var mu sync.Mutex
			var all sync.WaitGroup
			send := func(name string, rq request) {
				all.Go(func() {
					rq.on(t, s)
					mu.Lock()
					defer mu.Unlock()
					order = append(order, name)
				})
				pass(100 * time.Millisecond)
			}
			send("runs", chatOf(`,"max_tokens":300,"ignore_eos":true`))
			for _, p := range []string{"5", "1"} {
				send(p, chatOf(`,"max_tokens":2,"priority":`+p))
			}
			rq := chatOf(`,"max_tokens":2,"priority":9`)
			rq.header = map[string]string{"X-Vllm-Priority": "-9"}
			send("header", rq)
			send("-3", chatOf(`,"max_tokens":2,"priority":-3`))
			all.Wait()
			if d := cmp.Diff(append([]string{"runs"}, tt.want...), order); d != "" {
				t.Errorf("%s: %s", tt.scheduling, d)
			}
		})
	}
}

func TestAPromptThatIsKnownIsCached(t *testing.T) {
	long := `{"prompt":"` + strings.Repeat("word", 100) + `","max_tokens":1%s}`
	details := func(t *testing.T, s *Server, more string) any {
		t.Helper()
		return at(t, request{path: completionPath, body: fmt.Sprintf(long, more)}.on(t, s).decode(t), "usage", "prompt_tokens_details")
	}
	inBubble(t, Config{PromptTokensDetails: true}, func(b bubble) {
		t, s := b.T, b.server
		for i, tt := range []struct {
			more string
			want float64
		}{{"", 0}, {"", 96}, {`,"cache_salt":"a"`, 0}, {`,"cache_salt":"a"`, 96}, {`,"cache_salt":"b"`, 0}} {
			if got := at(t, details(t, s, tt.more), "cached_tokens"); got != tt.want {
				t.Errorf("%d: %v of 100 tokens are cached, not %g", i, got, tt.want)
			}
		}
		wantSample(t, s, "vllm:prefix_cache_hits_total", 192)
		wantSample(t, s, "vllm:prefix_cache_queries_total", 500)
	})
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		if got := details(t, s, ""); got != nil {
			t.Errorf("details without the flag: %v", got)
		}
	})
}

func TestTimeIsTheModels(t *testing.T) {
	// The API's 4.7 ms, the prefill of 10 tokens, two steps of one sequence with 11
	// and 12 tokens of context.
	want := 4700*time.Microsecond + (7050*time.Microsecond + 10*19500*time.Nanosecond) +
		2*(7050*time.Microsecond+25400*time.Nanosecond) + 23*47*time.Nanosecond
	for _, speed := range []int{1, 2, 10} {
		inBubble(t, Config{Speed: float64(speed)}, func(b bubble) {
			t, s := b.T, b.server
			began := time.Now()
			chatOf(`,"max_tokens":3`).on(t, s)
			took := time.Since(began)
			if d := took - want/time.Duration(speed); d < -time.Microsecond || d > time.Microsecond {
				t.Errorf("at speed %d it takes %v, not %v", speed, took, want/time.Duration(speed))
			}
		})
	}
}
