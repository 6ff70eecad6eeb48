package vllmsim

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

const engineError = `{"error": {"message": "EngineCore encountered an issue. See stack trace (above) for the root cause.", ` +
	`"type": "InternalServerError", "param": null, "code": 500}}`

// dying is the ends of requests during which the engine died: one that has answered
// already, and one that waits.
func TestTheEngineDiesInTheMiddle(t *testing.T) {
	long := `,"ignore_eos":true,"max_tokens":20000`
	for _, tt := range []struct {
		name   string
		rq     request
		waits  bool
		status int
		last   []event // of the stream
		cut    bool
	}{
		{name: "chat", rq: chatOf(long), status: 500},
		{name: "chat, streamed", rq: chatOf(long + `,"stream":true`), status: 200, last: []event{{"", engineError}, {"", "[DONE]"}}},
		{name: "chat, streamed, in the queue", rq: chatOf(long + `,"stream":true`), waits: true, status: 200, last: []event{{"", engineError}, {"", "[DONE]"}}},
		{
			name: "completions, streamed", status: 200, last: []event{{"", engineError}, {"", "[DONE]"}},
			rq: request{path: completionPath, body: `{"prompt":"a","stream":true` + long + `}`},
		},
		{name: "responses", rq: request{path: "/v1/responses", body: `{"input":"hi"` + long + `}`}, status: 500},
		{name: "responses, streamed", rq: request{path: "/v1/responses", body: `{"input":"hi","stream":true` + long + `}`}, status: 200, cut: true},
		{name: "messages", rq: request{path: "/v1/messages", body: "{" + hello + `,"model":"emulated","max_tokens":20000}`}, waits: true, status: 500},
		{
			name: "messages, streamed", waits: true, status: 200, last: []event{{"error", ""}},
			rq: request{path: "/v1/messages", body: "{" + hello + `,"model":"emulated","max_tokens":20000,"stream":true}`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, Config{MaxNumSeqs: 1}, func(b bubble) {
				t, s := b.T, b.server
				rec := httptest.NewRecorder()
				var cut any
				var all sync.WaitGroup
				if tt.waits {
					all.Go(func() { chatOf(long).on(t, s) })
					pass(time.Second)
				}
				all.Go(func() {
					defer func() { cut = recover() }()
					s.Handler().ServeHTTP(rec, tt.rq.make(t.Context()))
				})
				pass(time.Second)
				s.Crash()
				all.Wait()
				a := answered{rec.Code, rec.Header(), rec.Body.String()}
				if a.status != tt.status || (cut != nil) != tt.cut {
					t.Fatalf("%d %v: %s", a.status, cut, a.body)
				}
				if tt.last == nil {
					return
				}
				events := a.events(t)
				for i, want := range tt.last {
					got := events[len(events)-len(tt.last)+i]
					if got.name != want.name || want.data != "" && got.data != want.data {
						t.Errorf("%+v, not %+v", got, want)
					}
					if got.data != "[DONE]" && !json.Valid([]byte(got.data)) {
						t.Errorf("no JSON: %s", got.data)
					}
				}
			})
		})
	}
}

func TestOutOfMemoryKillsAndRecoverStartsAgain(t *testing.T) {
	inBubble(t, Config{KVBlocks: 20, MaxModelLen: 4000, CrashOnOOM: true, PromptTokensDetails: true}, func(b bubble) {
		t, s := b.T, b.server
		fits := request{path: completionPath, body: `{"prompt":"` + strings.Repeat("word", 100) + `","max_tokens":1}`}
		fits.on(t, s)
		if got := at(t, fits.on(t, s).decode(t), "usage", "prompt_tokens_details", "cached_tokens"); got != 96.0 {
			t.Errorf("%v tokens are cached", got)
		}
		a := chatOf(`,"ignore_eos":true,"max_tokens":3000,"stream":true`).on(t, s)
		if !strings.HasSuffix(a.body, "data: "+engineError+"\n\ndata: [DONE]\n\n") {
			t.Errorf("...%s", a.body[max(0, len(a.body)-300):])
		}
		synctest.Wait()
		func() {
			defer func() {
				if !aborted(recover()) {
					t.Error("a dead server answers")
				}
			}()
			request{path: "/health"}.on(t, s)
		}()
		if err := s.Recover(); err != nil {
			t.Fatal(err)
		}
		if got := at(t, fits.on(t, s).decode(t), "usage", "prompt_tokens_details", "cached_tokens"); got != 0.0 {
			t.Errorf("after the crash %v tokens are cached", got)
		}
		wantSample(t, s, "vllm:num_requests_running", 0)
	})
}

// This one needs sockets, and so real time.
func TestACrashedServerRefusesUntilItRecovers(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := s.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.Addr()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	health := func() error {
		res, err := client.Get(base + "/health")
		if err == nil {
			err = res.Body.Close()
		}
		return err
	}
	if err := health(); err != nil {
		t.Fatal(err)
	}
	res, err := client.Post(base+chatPath, "application/json", strings.NewReader("{"+hello+`,"ignore_eos":true,"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if first, err := lines.ReadString('\n'); err != nil || !strings.Contains(first, `"role":"assistant"`) {
		t.Fatalf("%q %v", first, err)
	}
	s.Crash()
	rest, err := io.ReadAll(lines)
	if err != nil || !strings.HasSuffix(string(rest), "data: [DONE]\n\n") {
		t.Errorf("the stream ends with %v: ...%s", err, rest[max(0, len(rest)-200):])
	}
	if err := health(); err == nil {
		t.Error("it still answers")
	}
	if err := s.Recover(); err != nil {
		t.Fatal(err)
	}
	if err := health(); err != nil {
		t.Error(err)
	}
	if got := "http://" + s.Addr(); got != base {
		t.Errorf("it moved from %s to %s", base, got)
	}
	s.Stop()
	s.Stop()
	if err := s.Recover(); !errors.Is(err, errStopped) {
		t.Errorf("Recover after Stop: %v", err)
	}
}

func TestAServerThatNeverRanCanStop(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	s.Stop()
}

func TestOutOfMemoryClosesThePort(t *testing.T) {
	s, err := New(Config{KVBlocks: 20, MaxModelLen: 4000, CrashOnOOM: true, Speed: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := s.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.Addr()
	if a := chatOf(`,"ignore_eos":true,"max_tokens":3000`).do(t, base); a.status != http.StatusInternalServerError {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for !errors.Is(err, syscall.ECONNREFUSED) { // the port closes a moment later
		var res *http.Response
		if res, err = (request{path: "/health"}).send(t.Context(), base); err == nil {
			res.Body.Close()
		}
	}
}
