package article

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"fairlane/loadtest/client"
)

// Config is the scene.
type Config struct {
	Base     string        // base URL without /v1
	Burst    int           // clients of the burst; 0: 100
	Within   time.Duration // in which they come; 0: 3 s
	Scan     int           // requests of the scan; 0: 150
	Loops    int           // requests of each of the three colleagues; 0: 20
	Giants   int           // people with 100,000 characters; 0: 5
	Patience time.Duration // for one answer; 0: 2 min
	Client   *http.Client
}

func (c Config) withDefaults() Config {
	set := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	set(&c.Burst, 100)
	set(&c.Scan, 150)
	set(&c.Loops, 20)
	set(&c.Giants, 5)
	if c.Within == 0 {
		c.Within = 3 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 2 * time.Minute
	}
	if c.Client == nil {
		c.Client = client.New(1024)
	}
	return c
}

// Part is what came of one part of the scene.
type Part struct {
	Name     string
	Statuses map[int]int // answers by status
	Timeouts int
	Broken   int    // connections that failed
	Mute     int    // refusals without a Retry-After, or whose text names no wait
	Said     string // the last refusal, for people
	Never    string // the last 400
}

func (p *Part) count(r reply) {
	switch {
	case errors.Is(r.err, context.DeadlineExceeded):
		p.Timeouts++
	case r.err != nil:
		p.Broken++
	default:
		p.Statuses[r.status]++
	}
	switch r.status {
	case http.StatusTooManyRequests:
		p.Said = r.message
		if r.retryAfter == "" || r.message == "" {
			p.Mute++
		}
	case http.StatusBadRequest:
		p.Never = r.message
	}
}

// stood reports whether every answer was one of those that limits give.
func (p *Part) stood() bool {
	n := 0
	for status, count := range p.Statuses {
		if status != http.StatusOK && status != http.StatusTooManyRequests && status != http.StatusBadRequest {
			return false
		}
		n += count
	}
	return n > 0 && p.Timeouts == 0 && p.Broken == 0 && p.Mute == 0
}

// reply is one answer.
type reply struct {
	status     int
	message    string // of an error
	retryAfter string
	err        error
}

// asker sends requests and counts the answers of one part.
type asker struct {
	cfg  *Config
	mu   sync.Mutex
	part Part
	all  sync.WaitGroup
}

// ask sends a chat of somebody; who is empty: of nobody in particular.
func (a *asker) ask(ctx context.Context, who, text string) {
	r := a.cfg.ask(ctx, who, text)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.part.count(r)
}

func (c *Config) ask(ctx context.Context, who, text string) reply {
	ctx, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	resp, err := client.Post(ctx, c.Client, c.Base+"/v1/chat/completions", client.Person{Name: who},
		map[string]any{"max_tokens": answerTokens, "messages": client.Chat(text)})
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	out := reply{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After"), err: err}
	var wrong struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(answer, &wrong) == nil {
		out.message = wrong.Error.Message
	}
	return out
}

const (
	answerTokens = 24
	loopChars    = 6000
	giantChars   = 100_000
)

// Play plays the four parts, one after the other.
func Play(ctx context.Context, cfg Config) []Part {
	cfg = cfg.withDefaults()
	parts := []struct {
		name string
		play func(context.Context, *asker)
	}{
		{fmt.Sprintf("a script: %d requests within %s", cfg.Burst, cfg.Within), burst},
		{fmt.Sprintf("a scan without an identity: %d requests", cfg.Scan), scan},
		{fmt.Sprintf("three colleagues: %d requests of %d characters each", cfg.Loops, loopChars), loops},
		{fmt.Sprintf("%d people with %d characters each, at once", cfg.Giants, giantChars), giants},
	}
	out := make([]Part, len(parts))
	for i, p := range parts {
		a := &asker{cfg: &cfg, part: Part{Name: p.name, Statuses: map[int]int{}}}
		p.play(ctx, a)
		a.all.Wait()
		out[i] = a.part
	}
	return out
}

func burst(ctx context.Context, a *asker) {
	pace := time.NewTicker(max(1, a.cfg.Within/time.Duration(a.cfg.Burst)))
	defer pace.Stop()
	for range a.cfg.Burst {
		a.all.Go(func() { a.ask(ctx, "script", "What is a queue?") })
		select {
		case <-pace.C:
		case <-ctx.Done():
			return
		}
	}
}

func scan(ctx context.Context, a *asker) {
	const at = 10 // a time
	for worker := range at {
		a.all.Go(func() {
			for i := worker; i < a.cfg.Scan; i += at {
				a.ask(ctx, "", "ping")
			}
		})
	}
}

func loops(ctx context.Context, a *asker) {
	text := strings.Repeat("long ", loopChars/len("long ")) + "text"
	for _, who := range []string{"colleague1", "colleague2", "colleague3"} {
		a.all.Go(func() {
			for range a.cfg.Loops {
				a.ask(ctx, who, text)
			}
		})
	}
}

// giants send Chinese text, of which a character is about a token: 100,000 of them
// are more than the memory of a small GPU holds.
func giants(ctx context.Context, a *asker) {
	text := strings.Repeat("长", giantChars)
	for i := range a.cfg.Giants {
		a.all.Go(func() { a.ask(ctx, fmt.Sprint("giant", i+1), text) })
	}
}
