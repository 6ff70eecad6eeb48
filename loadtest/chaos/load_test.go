package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// tally is what became of the calls.
type tally struct {
	mu      sync.Mutex
	exact   int      // ended with [DONE], the text as it has to be
	errored int      // ended in an error event, or an error status
	cut     int      // the connection to a killed proxy broke
	wrong   []string // anything else
}

func (t *tally) note(kind *int, wrong string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if wrong != "" {
		t.wrong = append(t.wrong, wrong)
		return
	}
	*kind++
}

func (t *tally) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d exact, %d ended in an error, %d cut with their proxy, %d wrong", t.exact, t.errored, t.cut, len(t.wrong))
}

// load keeps a number of callers busy until ctx ends, then waits for their last
// calls. Half of them stream.
func load(ctx context.Context, edges []string, callers int, expect func(prompt string) string) *tally {
	t := &tally{}
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				prompt := promptOf(i)
				call(t, edges[(i+n)%len(edges)], prompt, i%2 == 0, expect(prompt)) //nolint:contextcheck // the last call is not cut off
			}
		})
	}
	wg.Wait()
	return t
}

// patience is after how long a call counts as hanging.
const patience = 60 * time.Second

func call(t *tally, edge, prompt string, stream bool, want string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := ask(ctx, edge, prompt, stream)
	if err != nil {
		t.broken(ctx, err)
		pause(ctx)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		if !bytes.Contains(body, []byte(`"error"`)) {
			t.note(nil, fmt.Sprintf("status %d without an error object: %.200s", resp.StatusCode, body))
			return
		}
		t.note(&t.errored, "")
		pause(ctx)
		return
	}
	if stream {
		t.stream(ctx, resp.Body, want)
		return
	}
	t.whole(ctx, resp.Body, want)
}

func ask(ctx context.Context, edge, prompt string, stream bool) (*http.Response, error) {
	body, err := json.Marshal(map[string]any{
		"model": "emulated", "stream": stream, "max_tokens": 40, "ignore_eos": true,
		"messages": []any{map[string]string{"role": "user", "content": prompt}},
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, edge+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return http.DefaultTransport.RoundTrip(req)
}

// pause keeps a caller whose proxy is dead from spinning.
func pause(ctx context.Context) {
	timer := time.NewTimer(100 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// broken is a connection that failed: fine if its proxy was killed, for which
// nobody can do anything; a time-out is a call that hung.
func (t *tally) broken(ctx context.Context, err error) {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.note(nil, "hung: "+err.Error())
		return
	}
	t.note(&t.cut, "")
}

func (t *tally) stream(ctx context.Context, body io.Reader, want string) {
	var text strings.Builder
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	done, failed := false, false
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok:
		case data == "[DONE]":
			done = true
		case strings.Contains(data, `"error"`):
			failed = true
		default:
			text.WriteString(textOf([]byte(data), true))
		}
	}
	switch {
	case failed:
		t.note(&t.errored, "")
	case lines.Err() != nil:
		t.broken(ctx, lines.Err())
	case !done:
		t.note(nil, "a stream ended without [DONE] and without an error")
	case text.String() != want:
		t.note(nil, fmt.Sprintf("a stream with [DONE] says %q, want %q", text.String(), want))
	default:
		t.note(&t.exact, "")
	}
}

func (t *tally) whole(ctx context.Context, body io.Reader, want string) {
	b, err := io.ReadAll(body)
	switch got := textOf(b, false); {
	case err != nil:
		t.broken(ctx, err)
	case got != want:
		t.note(nil, fmt.Sprintf("an answer says %q, want %q", got, want))
	default:
		t.note(&t.exact, "")
	}
}

// textOf is the answer's text in a chunk or a whole answer.
func textOf(b []byte, delta bool) string {
	type message struct {
		Content string `json:"content"`
	}
	var v struct {
		Choices []struct {
			Delta, Message message
		} `json:"choices"`
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Choices) == 0 {
		return ""
	}
	if delta {
		return v.Choices[0].Delta.Content
	}
	return v.Choices[0].Message.Content
}

func promptOf(caller int) string { return fmt.Sprintf("caller %d", caller) }
