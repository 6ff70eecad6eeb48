package proxy

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

// at is what the queue says of a call's place.
func at(position int, eta time.Duration) scheduler.CallEvent {
	return scheduler.CallEvent{Kind: scheduler.CallQueued, Position: position, ETA: eta}
}

func noBackend() scheduler.CallEvent {
	return scheduler.CallEvent{Kind: scheduler.CallQueued, Position: 1, NoBackend: true}
}

// openWebUI is somebody who looks at a chat there.
func openWebUI(f *fakes) {
	f.identify = func(*http.Request) (*identity.Identity, *scheduler.Problem) {
		return &identity.Identity{UserKey: "user:ann", Forwarder: true, MessageID: "m1", ChatID: "c1"}, nil
	}
}

// watched is the one call of somebody who looks at a chat there.
func watched(f *fakes) *fakeCall {
	openWebUI(f)
	call := newFakeCall()
	f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
	return call
}

func said(text string) string   { return string(openai.StatusEvent(text, false)) }
func hidden(text string) string { return string(openai.StatusEvent(text, true)) }

func inStream(p *scheduler.Problem) string {
	return string(problemError(p, openai.ShapeOpenAI).Event(openai.ShapeOpenAI))
}

// play puts events into a call, at the times that stand between them.
func play(call *fakeCall, steps ...any) {
	for _, step := range steps {
		switch step := step.(type) {
		case time.Duration:
			<-time.After(step)
		case scheduler.CallEvent:
			call.events <- step
		}
	}
}

// TestStatusIsWhatOpenWebUIShows holds the bytes of the events.
func TestStatusIsWhatOpenWebUIShows(t *testing.T) {
	t.Parallel()
	want := `data: {"object":"chat.completion.chunk","choices":[],"event":{"type":"status","data":{"description":"a \"b\"\n您","done":false}}}` + "\n\n"
	if got := said("a \"b\"\n您"); got != want {
		t.Errorf("got %s", got)
	}
	want = `data: {"object":"chat.completion.chunk","choices":[],"event":{"type":"status","data":{"description":"x","done":true,"hidden":true}}}` + "\n\n"
	if got := hidden("x"); got != want {
		t.Errorf("got %s", got)
	}
}

// TestQueueStatus goes through what may happen to somebody who waits.
func TestQueueStatus(t *testing.T) {
	t.Parallel()
	const (
		third, second    = "You are number 3 in the queue, about 30 s", "You are number 2 in the queue, about 10 s"
		longer, restarts = "It takes a little longer", "The model is restarting; you keep your place in the queue"
	)
	late := scheduler.Problemf(scheduler.CodeQueueTimeout, "too late")
	answer := []any{head(200, sse), data(chunk + doneEvent), end(scheduler.Completed)}
	tests := []struct {
		name    string
		steps   []any
		status  int
		body    string
		outcome scheduler.Outcome
	}{
		{"position and time, until the answer", []any{at(3, 12*time.Second), 5 * time.Second, at(2, 8*time.Second), time.Second, granted(), 20 * time.Second}, 200, said(third) + said(second) + hidden(second) + ": keep-alive\n\n: keep-alive\n\n" + chunk + hidden(second) + doneEvent, scheduler.Completed},
		{"nothing before a second", []any{at(3, 12*time.Second), 900 * time.Millisecond, granted()}, 200, chunk + doneEvent, scheduler.Completed},
		{"nothing while nothing is known", []any{9 * time.Second, granted()}, 200, chunk + doneEvent, scheduler.Completed},
		{"the time may be unknown", []any{at(3, 0), 2 * time.Second, granted()}, 200, said("You are number 3 in the queue") + hidden("You are number 3 in the queue") + chunk + hidden("You are number 3 in the queue") + doneEvent, scheduler.Completed},
		{"a time that is not known for a moment", []any{at(2, 8*time.Second), 2 * time.Second, at(2, 0), 4 * time.Second, at(2, 8*time.Second), time.Second, granted()}, 200, said(second) + hidden(second) + chunk + hidden(second) + doneEvent, scheduler.Completed},
		{"no position that rises", []any{at(2, 8*time.Second), 2 * time.Second, at(3, 8*time.Second), 4 * time.Second, at(2, 8*time.Second), 4 * time.Second, granted()}, 200, said(second) + said(longer) + said(second) + hidden(second) + chunk + hidden(second) + doneEvent, scheduler.Completed},
		{"no time that rises", []any{at(2, 8*time.Second), 2 * time.Second, at(2, 40*time.Second), 4 * time.Second, granted()}, 200, said(second) + said(longer) + hidden(longer) + chunk + hidden(longer) + doneEvent, scheduler.Completed},
		{"what changes within a step is not said", []any{at(3, 29*time.Second), 5 * time.Second, at(3, 15*time.Second), time.Second, granted()}, 200, said(third) + hidden(third) + chunk + hidden(third) + doneEvent, scheduler.Completed},
		{"the model restarts", []any{at(3, 12*time.Second), 2 * time.Second, noBackend(), 4 * time.Second, at(2, 8*time.Second), 5 * time.Second, granted()}, 200, said(third) + said(restarts) + said(second) + hidden(second) + chunk + hidden(second) + doneEvent, scheduler.Completed},
		{"a second attempt", []any{at(3, 12*time.Second), 2 * time.Second, granted(), time.Second, at(1, 3*time.Second), 3 * time.Second, granted()}, 200, said(third) + hidden(third) + said("You are number 1 in the queue, about 10 s") + hidden("You are number 1 in the queue, about 10 s") + chunk + hidden("You are number 1 in the queue, about 10 s") + doneEvent, scheduler.Completed},
		{"a refusal in time", []any{at(3, 12*time.Second), 900 * time.Millisecond, broken(late)}, 504, string(problemError(late, openai.ShapeOpenAI).Body(openai.ShapeOpenAI)), scheduler.Expired},
		{"it expires", []any{at(3, 12*time.Second), 5 * time.Second, broken(late)}, 200, said(third) + hidden(third) + inStream(late), scheduler.Expired},
		{"the backend's own error", []any{at(3, 12*time.Second), 5 * time.Second, granted(), head(400, "application/json"), data(`{"error":{"message":"bad","type":"t","param":null,"code":"c"}}`), end(scheduler.Invalid)}, 200, said(third) + hidden(third) + hidden(third) + `data: {"error":{"type":"t","message":"bad","param":null,"code":"400"}}` + "\n\n", scheduler.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				openWebUI(f)
				call := newFakeCall()
				f.submit = func(_ context.Context, s *scheduler.Submission) (scheduler.Call, error) {
					if !s.ShowsPlace {
						t.Error("the queue does not know that the place is shown")
					}
					return call, nil
				}
				c, _ := start(t, f.server(t, Config{QueueStatus: QueueStatus{Heartbeat: 10 * time.Second, OpenWebUI: true, After: time.Second}}))
				steps := tt.steps
				if tt.outcome == scheduler.Completed {
					steps = append(append([]any{}, steps...), answer...)
				}
				go play(call, steps...)
				resp := post(t, c, chatPath, streamBody)
				if body := readAll(t, resp.Body); resp.StatusCode != tt.status || body != tt.body {
					t.Errorf("%d (-want +got)\n%s", resp.StatusCode, cmp.Diff(strings.Split(tt.body, "\n\n"), strings.Split(body, "\n\n")))
				}
				synctest.Wait()
				f.once(t, tt.outcome)
			})
		})
	}
}

// TestStatusVanishesAgainAtTheEnd: a page that was not connected when the answer began
// would show it for ever. Once is enough, and there is none where none was.
func TestStatusVanishesAgainAtTheEnd(t *testing.T) {
	t.Parallel()
	const first = "You are number 1 in the queue, about 10 s"
	told := []any{at(1, time.Second), 2 * time.Second, granted(), head(200, sse)}
	broke := scheduler.Problemf(scheduler.CodeBackendFailed, "it broke")
	tests := []struct {
		name  string
		steps []any
		want  string // what follows the first closing
	}{
		{"in a piece of its own", append(told[:4:4], data(chunk), data(chunk+chunk), data(doneEvent), end(scheduler.Completed)), chunk + chunk + chunk + hidden(first) + doneEvent},
		{"with the last piece", append(told[:4:4], data(chunk+doneEvent), end(scheduler.Completed)), chunk + hidden(first) + doneEvent},
		{"said twice", append(told[:4:4], data(chunk), data(doneEvent), data(doneEvent), end(scheduler.Completed)), chunk + hidden(first) + doneEvent + doneEvent},
		{"without an end", append(told[:4:4], data(chunk), end(scheduler.Completed)), chunk + hidden(first)},
		{"broken off", append(told[:4:4], data(chunk), broken(broke)), chunk + hidden(first) + inStream(broke)},
		{"broken off in an event", append(told[:4:4], data(chunk[:9]), broken(broke)), chunk[:9] + "\n\n" + inStream(broke)},
		{"broken before it began", append(told[:3:3], broken(broke)), inStream(broke)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				call := watched(f)
				c, _ := start(t, f.server(t, Config{QueueStatus: QueueStatus{OpenWebUI: true, After: time.Second}}))
				go play(call, tt.steps...)
				if diff := cmp.Diff(said(first)+hidden(first)+tt.want, readAll(t, post(t, c, chatPath, streamBody).Body)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestStatusIsForOpenWebUIOnly: anybody else would get a chunk that is none.
func TestStatusIsForOpenWebUIOnly(t *testing.T) {
	t.Parallel()
	shows := identity.Identity{UserKey: "user:ann", Forwarder: true, MessageID: "m1"}
	but := func(change func(*identity.Identity)) identity.Identity {
		id := shows
		change(&id)
		return id
	}
	on := QueueStatus{OpenWebUI: true, After: time.Second}
	tests := []struct {
		name, path, body string
		id               identity.Identity
		status           QueueStatus
		want             bool
	}{
		{"Open WebUI", chatPath, streamBody, shows, on, true},
		{"no message", chatPath, streamBody, but(func(id *identity.Identity) { id.MessageID = "" }), on, false},
		{"no forwarder", chatPath, streamBody, but(func(id *identity.Identity) { id.Forwarder = false }), on, false},
		{"a background task", chatPath, streamBody, but(func(id *identity.Identity) { id.Task = "title_generation" }), on, false},
		{"no stream", chatPath, chatBody, shows, on, false},
		{"another API", "/v1/messages", streamBody, shows, on, false},
		{"switched off", chatPath, streamBody, shows, QueueStatus{After: time.Second}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				f.identify = func(*http.Request) (*identity.Identity, *scheduler.Problem) { return &tt.id, nil }
				call := newFakeCall()
				f.submit = func(_ context.Context, s *scheduler.Submission) (scheduler.Call, error) {
					if s.ShowsPlace != tt.want {
						t.Errorf("ShowsPlace is %v", s.ShowsPlace)
					}
					return call, nil
				}
				c, _ := start(t, f.server(t, Config{QueueStatus: tt.status}))
				go play(call, at(3, time.Second), time.Minute, granted(), head(200, sse), data(chunk), end(scheduler.Completed))
				body := readAll(t, post(t, c, tt.path, tt.body).Body)
				if got := strings.Contains(body, `"event"`); got != tt.want {
					t.Errorf("got %s", body)
				}
			})
		})
	}
}

// TestStatusTextsAreHot changes them while somebody waits: who comes next has them.
func TestStatusTextsAreHot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		openWebUI(f)
		s := f.server(t, Config{QueueStatus: QueueStatus{OpenWebUI: true, After: time.Second}})
		c, _ := start(t, s)
		for _, tt := range []struct {
			texts Texts
			want  string
		}{
			{Texts{}, "You are number 3 in the queue, about 2 h"},
			{Chinese(), "您当前排在第 3 位，预计等待约 2 小时"},
			{Texts{Waiting: "{time}: {position}/{position}", Hours: "{n}h"}, "2h: 3/3"},
		} {
			s.SetQueueStatus(QueueStatus{OpenWebUI: true, After: time.Second, Texts: tt.texts})
			call := newFakeCall()
			f.submit = func(context.Context, *scheduler.Submission) (scheduler.Call, error) { return call, nil }
			go play(call, at(3, 90*time.Minute), 2*time.Second, granted(), head(200, sse), data(chunk), end(scheduler.Completed))
			if body := readAll(t, post(t, c, chatPath, streamBody).Body); body != said(tt.want)+hidden(tt.want)+chunk+hidden(tt.want) {
				t.Errorf("got %s", body)
			}
		}
	})
}

// TestDrainEndsWhoWaitsAgain: a call whose attempt is over waits again, and a
// shutdown answers it at once; one that runs may finish.
func TestDrainEndsWhoWaitsAgain(t *testing.T) {
	t.Parallel()
	const first = "You are number 1 in the queue, about 10 s"
	again := []any{at(1, time.Second), 2 * time.Second, granted(), 100 * time.Millisecond, at(1, time.Second)}
	tests := []struct {
		name   string
		steps  []any
		status QueueStatus
		want   string
	}{
		{"it waits", again[:1], QueueStatus{OpenWebUI: true, After: time.Second}, hidden(first) + inStream(shuttingDown())},
		{"it waits again", again, QueueStatus{OpenWebUI: true, After: time.Second}, hidden(first) + inStream(shuttingDown())},
		{"it waits again, with heartbeats", again, QueueStatus{Heartbeat: time.Second}, ": keep-alive\n\n" + inStream(shuttingDown())},
		{"it waits again, and the next heartbeat is far", again, QueueStatus{Heartbeat: time.Minute}, string(problemError(shuttingDown(), openai.ShapeOpenAI).Body(openai.ShapeOpenAI))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				call := watched(f)
				s := f.server(t, Config{QueueStatus: tt.status})
				c, _ := start(t, s)
				began := time.Now()
				go play(call, tt.steps...)
				time.AfterFunc(5*time.Second+500*time.Millisecond, s.Drain)
				body := readAll(t, post(t, c, chatPath, streamBody).Body)
				if took := time.Since(began); took != 5*time.Second+500*time.Millisecond {
					t.Errorf("the client waited %s", took)
				}
				if !strings.HasSuffix(body, tt.want) {
					t.Errorf("got %s", body)
				}
				synctest.Wait()
				f.once(t, scheduler.Refused)
			})
		})
	}
}

// statusOf reads a status event; false: it is another event.
func statusOf(event string) (text string, done, ok bool) {
	var chunk struct {
		Event *struct {
			Data struct {
				Description  string
				Done, Hidden bool
			}
		}
	}
	if json.Unmarshal([]byte(strings.TrimPrefix(event, "data: ")), &chunk) != nil || chunk.Event == nil {
		return "", false, false
	}
	d := chunk.Event.Data
	return d.Description, d.Done && d.Hidden, true
}

// Whatever the queue says and however it ends: at most ten statuses, none before its
// time, no number that rises, none said twice, the last one closes it before anything
// else comes, and again before the end.
func TestStatusesKeepTheirRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		var steps []any
		for range rapid.IntRange(0, 40).Draw(r, "n") {
			steps = append(steps, time.Duration(rapid.IntRange(0, 15000).Draw(r, "pause"))*time.Millisecond)
			switch rapid.IntRange(0, 9).Draw(r, "what") {
			case 0:
				steps = append(steps, noBackend())
			case 1:
				steps = append(steps, granted())
			default:
				steps = append(steps, at(rapid.IntRange(1, 100).Draw(r, "position"), time.Duration(rapid.IntRange(0, 4000).Draw(r, "eta"))*time.Second))
			}
		}
		last := rapid.SampledFrom([][]any{
			{head(200, sse), data(chunk + doneEvent), end(scheduler.Completed)},
			{head(400, "application/json"), data(`{"error":{"message":"x"}}`), end(scheduler.Invalid)},
			{broken(scheduler.Problemf(scheduler.CodeQueueTimeout, "x"))},
			{broken(scheduler.Problemf(scheduler.CodeBackendFailed, "x"))},
			{broken(scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonHold, time.Second, "x"))},
			{end(scheduler.Completed)},
			{},
		}).Draw(r, "last")
		after := time.Duration(rapid.IntRange(0, 5).Draw(r, "after")) * time.Second
		drains := time.Duration(rapid.IntRange(1, 600).Draw(r, "drains")) * time.Second
		synctest.Test(t, func(t *testing.T) { playStatuses(t, append(steps, last...), after, drains) })
	})
}

func playStatuses(t *testing.T, steps []any, after, drains time.Duration) {
	t.Helper()
	f := newFakes()
	call := watched(f)
	s := f.server(t, Config{Grace: time.Second, QueueStatus: QueueStatus{Heartbeat: 10 * time.Second, OpenWebUI: true, After: after}})
	c, _ := start(t, s)
	began := time.Now()
	go play(call, steps...)
	go func() {
		<-time.After(drains)
		s.Stop(context.Background())
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://edge"+chatPath, strings.NewReader(streamBody))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := time.Since(began)
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	judge(t, strings.SplitAfter(string(body), "\n\n"), first >= min(after, drains, 10*time.Second))
	<-time.After(20 * time.Minute)
	synctest.Wait()
}

// judge holds a stream against the rules.
func judge(t *testing.T, events []string, late bool) {
	t.Helper()
	numbers := regexp.MustCompile(`^You are number (\d+) in the queue(?:, about (\d+) (s|min|h))?$`)
	units := map[string]int{"s": 1, "min": 60, "h": 3600}
	n, position, seconds, shown, closed := 0, 1<<30, 1<<30, "", ""
	answered := false
	for _, event := range events {
		text, done, ok := statusOf(event)
		if !ok {
			if shown != "" && event != "" && !strings.HasPrefix(event, ":") {
				t.Errorf("%q is still shown when %q comes", shown, event)
			}
			if answered = answered || strings.Contains(event, `"choices"`); strings.Contains(event, "[DONE]") && closed != "" {
				t.Errorf("%q is not closed again before the end", closed)
			}
			continue
		}
		if n++; n > mostStatuses || !late {
			t.Errorf("%d statuses, in time: %v", n, late)
		}
		if done {
			switch {
			case shown != "" && text == shown:
				shown, closed = "", text
			case shown == "" && text == closed:
				closed = "" // once more, at the end
			default:
				t.Errorf("%q is closed, %q is shown, %q was", text, shown, closed)
			}
			continue
		}
		if text == shown || answered {
			t.Errorf("%q is said twice, or late", text)
		}
		shown = text
		if m := numbers.FindStringSubmatch(text); m != nil {
			p, _ := strconv.Atoi(m[1])
			if p > position {
				t.Errorf("the position rises from %d to %d", position, p)
			}
			position = p
			if m[2] != "" {
				d, _ := strconv.Atoi(m[2])
				if d *= units[m[3]]; d > seconds {
					t.Errorf("the time rises from %d s to %s", seconds, text)
				} else {
					seconds = d
				}
			}
		}
	}
	if shown != "" {
		t.Errorf("%q is shown for ever", shown)
	}
}
