// Package play plays a simulator's workload against a running server, in real
// time and over HTTP, and reports what the simulator reports. Those who ask at a
// rate ask whether or not they were answered (open loop), up to a bound on what is
// in flight; the others ask when they were answered.
//
// People are told apart by the headers with which Open WebUI forwards them. A
// token that a stream shows counts as delivered when it comes, and the prompt with
// the first. A wait is what fairlane says of it in X-Fairlane-Wait-Ms.
//
// # Agreement
//
// [Agree] holds what was seen against what a simulator says. The two differ by more
// than who is next only in what the simulator leaves out, and that is noise here:
//
//   - The network, the parsing and the hops between the parts: a few milliseconds a
//     request, which are added to its first token and, while its slot stands empty, to
//     everybody's wait. With requests of a second or more that is some tenths of a
//     percent.
//   - The machine. An emulated GPU that is not given the processor in time makes up
//     for up to 50 ms, and loses what is later than that: throughput falls, and waits
//     grow alike. What was seen on a busy machine says nothing.
//   - The order of arrival. Lengths are the same, but who asks when answered asks at
//     slightly other moments, so that a share and a median are of slightly other
//     requests. It falls with the root of their number.
package play

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fairlane/loadtest/client"
	"fairlane/loadtest/simulate"
)

// Config is where a workload is played.
type Config struct {
	Base   string // base URL without /v1
	Most   int    // requests in flight, at most; 0: 2,000
	Client *http.Client
	// KV reads which part of the backends' KV is in use, of 1; nil: it can't be told.
	KV func(context.Context) (float64, error)
}

// ErrTooMany is what a run ends with that had more in flight than it may.
var ErrTooMany = errors.New("play: too many requests in flight")

// game is one run.
type game struct {
	cfg   Config
	w     *simulate.Workload
	start time.Time
	stop  func() // ends the run

	serial atomic.Uint64 // of requests

	mu     sync.Mutex
	rows   []row
	flying int
	failed error
	kv     kv
}

// row is what came of a user of the workload.
type row struct {
	delivered     float64
	served        int
	output, input int
	firsts, waits []float32
}

// Run plays a workload for as long as it says, or until ctx ends.
func Run(ctx context.Context, cfg Config, w *simulate.Workload) (*simulate.Result, error) {
	if cfg.Client == nil {
		cfg.Client = client.New(4096)
	}
	if cfg.Most == 0 {
		cfg.Most = 2000
	}
	g := &game{cfg: cfg, w: w, start: time.Now(), rows: make([]row, len(w.Users))}
	ctx, cancel := context.WithTimeout(ctx, w.Warmup+w.Duration)
	defer cancel()
	g.stop = cancel
	var wg sync.WaitGroup
	for _, a := range w.Askers() {
		asker := &asker{Asker: a}
		load := a.User().Load
		if load.Rate > 0 {
			wg.Go(func() { g.atRate(ctx, &wg, asker) })
		}
		for range max(load.Outstanding, load.Backlog) {
			wg.Go(func() { g.byItself(ctx, asker) })
		}
	}
	if cfg.KV != nil {
		wg.Go(func() { g.watch(ctx) })
	}
	wg.Wait()
	if g.failed != nil {
		return nil, g.failed
	}
	return g.result(), nil
}

// asker is drawn from by several goroutines.
type asker struct {
	*simulate.Asker
	mu sync.Mutex
}

func (a *asker) next() simulate.Ask {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Next()
}

// atRate asks at the moments that were drawn.
func (g *game) atRate(ctx context.Context, wg *sync.WaitGroup, a *asker) {
	end, at := g.w.Warmup+g.w.Duration, time.Duration(0)
	for {
		gap, more := a.Gap(at, end)
		if !more {
			return
		}
		at += gap
		timer := time.NewTimer(time.Until(g.start.Add(at)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		ask := a.next()
		wg.Go(func() { g.ask(ctx, a, ask) })
	}
}

// byItself asks again when it was answered.
func (g *game) byItself(ctx context.Context, a *asker) {
	for g.ask(ctx, a, a.next()) && a.User().Load.Backlog == 0 {
	}
}

// ask sends a request and reads its answer; false: no more is to be asked.
func (g *game) ask(ctx context.Context, a *asker, ask simulate.Ask) bool {
	if !g.takeOff() {
		return false
	}
	defer g.land()
	sent := time.Now()
	resp, err := g.send(ctx, a, ask)
	if err != nil {
		return g.end(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return g.end(ctx, fmt.Errorf("play: %s was not answered: %w", a.Name(), client.Refusal(resp)))
	}
	g.waited(a.Row(), sent, resp.Header.Get("X-Fairlane-Wait-Ms"))
	lines, tokens := bufio.NewScanner(resp.Body), 0
	for lines.Scan() {
		if n := told(lines.Bytes()); n > tokens {
			g.tokens(a.Row(), n-tokens, tokens == 0, sent, ask)
			tokens = n
		}
	}
	if err := lines.Err(); err != nil {
		return g.end(ctx, err)
	}
	g.served(a.Row())
	return ctx.Err() == nil
}

func (g *game) takeOff() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flying >= g.cfg.Most {
		g.failed = ErrTooMany
		g.stop()
		return false
	}
	g.flying++
	return g.failed == nil
}

func (g *game) land() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flying--
}

// end notes why a run fails, unless it is over anyway.
func (g *game) end(ctx context.Context, err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ctx.Err() == nil && g.failed == nil {
		g.failed = err
		g.stop()
	}
	return false
}

// told is how many tokens the server has generated by an event. It is asked to say
// so with each: a token that ends in the middle of a letter has no text, and a server
// that is pressed sends several in one.
func told(line []byte) int {
	_, rest, ok := bytes.Cut(line, []byte(`"completion_tokens":`))
	if !ok {
		return 0
	}
	n := 0
	for _, c := range bytes.TrimLeft(rest, " ") {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// tokens counts those that came.
func (g *game) tokens(i, n int, first bool, sent time.Time, ask simulate.Ask) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.start) < g.w.Warmup {
		return
	}
	r := &g.rows[i]
	r.delivered += 2 * float64(n)
	r.output += n
	if first {
		r.delivered += float64(ask.Input)
		r.input += ask.Input
		if sent.Sub(g.start) >= g.w.Warmup {
			r.firsts = append(r.firsts, float32(now.Sub(sent).Seconds()))
		}
	}
}

// waited counts a wait in milliseconds, if the server says it.
func (g *game) waited(i int, sent time.Time, ms string) {
	wait, err := strconv.Atoi(ms)
	if err != nil || sent.Sub(g.start) < g.w.Warmup {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rows[i].waits = append(g.rows[i].waits, float32(wait)/1000)
}

func (g *game) served(i int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.start) >= g.w.Warmup {
		g.rows[i].served++
	}
}

const (
	template      = 12 // tokens that a chat with one message has beside its text
	bytesPerToken = 4  // of the emulator

	firstToken, manyTokens = 16, 256 // which every vocabulary has, and are no special ones
)

// text is about so many tokens with the template, and begins like no other, for no
// cache is to know it.
func text(n uint64, tokens int) string {
	head := fmt.Sprintf("%016x", n)
	return head + strings.Repeat("word", max(tokens-template-len(head)/bytesPerToken, 1))
}

// tokens are so many, which begin like no other prompt's: a vLLM with any tokenizer
// takes them for what they are.
func tokens(n uint64, count int) []uint64 {
	out := make([]uint64, max(count, 1))
	for i := range out {
		out[i] = firstToken + n%manyTokens
		n = n/manyTokens + uint64(i)*7
	}
	return out
}

func (g *game) send(ctx context.Context, a *asker, ask simulate.Ask) (*http.Response, error) {
	path, request := "/v1/chat/completions", map[string]any{
		"stream": true, "max_tokens": ask.Output, "ignore_eos": true,
		"stream_options": map[string]bool{"include_usage": true, "continuous_usage_stats": true},
	}
	if a.User().Endpoint == "completions" {
		path, request["prompt"] = "/v1/completions", tokens(g.serial.Add(1), ask.Input)
	} else {
		request["messages"] = client.Chat(text(g.serial.Add(1), ask.Input))
	}
	u := a.User()
	who := client.Person{Name: a.Name(), Groups: u.Groups}
	if len(u.Roles) > 0 {
		who.Role = u.Roles[0]
	}
	return client.Post(ctx, g.cfg.Client, g.cfg.Base+path, who, request)
}
