// Package play plays a simulator's workload against a running server, in real
// time and over HTTP, and reports what the simulator reports. Those who ask at a
// rate ask whether or not they were answered (open loop), up to a bound on what is
// in flight; the others ask when they were answered.
//
// People are told apart by the headers with which Open WebUI forwards them. A
// token that a stream shows counts as delivered when it comes, and the prompt with
// the first.
package play

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
	"sync/atomic"
	"time"

	"fairlane/loadtest/simulate"
)

// Config is where a workload is played.
type Config struct {
	Base   string // base URL without /v1
	Most   int    // requests in flight, at most; 0: 2,000
	Client *http.Client
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
}

// row is what came of a user of the workload.
type row struct {
	delivered     float64
	served        int
	output, input int
	firsts        []float32
}

// Run plays a workload for as long as it says, or until ctx ends.
func Run(ctx context.Context, cfg Config, w *simulate.Workload) (*simulate.Result, error) {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4096}}
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
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return g.end(ctx, fmt.Errorf("play: %s was answered %d: %s", a.Name(), resp.StatusCode, bytes.TrimSpace(body)))
	}
	lines, tokens := bufio.NewScanner(resp.Body), 0
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), []byte("data: {")) && bytes.Contains(lines.Bytes(), []byte(`"content"`)) && !bytes.Contains(lines.Bytes(), []byte(`"content":""`)) {
			tokens++
			g.token(a.Row(), tokens == 1, sent, ask)
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

// token counts one that came.
func (g *game) token(i int, first bool, sent time.Time, ask simulate.Ask) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.start) < g.w.Warmup {
		return
	}
	r := &g.rows[i]
	r.delivered += 2
	r.output++
	if first {
		r.delivered += float64(ask.Input)
		r.input += ask.Input
		if sent.Sub(g.start) >= g.w.Warmup {
			r.firsts = append(r.firsts, float32(now.Sub(sent).Seconds()))
		}
	}
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
)

// text is about so many tokens with the template, and begins like no other, for no
// cache is to know it.
func text(n uint64, tokens int) string {
	head := fmt.Sprintf("%016x", n)
	return head + strings.Repeat("word", max(tokens-template-len(head)/bytesPerToken, 1))
}

func (g *game) send(ctx context.Context, a *asker, ask simulate.Ask) (*http.Response, error) {
	body, err := json.Marshal(map[string]any{
		"stream": true, "max_tokens": ask.Output, "ignore_eos": true,
		"messages": []any{map[string]string{"role": "user", "content": text(g.serial.Add(1), ask.Input)}},
	})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.cfg.Base+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-OpenWebUI-User-Id", a.Name())
	req.Header.Set("X-OpenWebUI-User-Email", a.Name()+"@example.com")
	if u := a.User(); len(u.Roles) > 0 {
		req.Header.Set("X-OpenWebUI-User-Role", u.Roles[0])
	}
	if u := a.User(); len(u.Groups) > 0 {
		req.Header.Set("X-User-Groups", strings.Join(u.Groups, ","))
	}
	return g.cfg.Client.Do(req)
}

// result is what was seen, in the simulator's words. What cannot be seen from
// outside is left out.
func (g *game) result() *simulate.Result {
	g.mu.Lock()
	defer g.mu.Unlock()
	seconds := g.w.Duration.Seconds()
	r := &simulate.Result{Workload: g.w.Name, Setup: "measured", Policy: simulate.Fair, Seed: g.w.Seed, Seconds: seconds}
	total, output, input := 0.0, 0, 0
	for i := range g.rows {
		total, output, input = total+g.rows[i].delivered, output+g.rows[i].output, input+g.rows[i].input
		r.Requests += g.rows[i].served
	}
	classes := map[string]*row{}
	var names []string
	for i := range g.rows {
		x, u := &g.rows[i], &g.w.Users[i]
		c := classes[u.Class]
		if c == nil {
			c = &row{}
			classes[u.Class] = c
			names = append(names, u.Class)
		}
		c.delivered += x.delivered
		c.firsts = append(c.firsts, x.firsts...)
		r.Rows = append(r.Rows, simulate.Row{
			Name: u.Name, Class: u.Class, Persons: max(u.Count, 1), Served: x.served, Share: x.delivered / max(total, 1), First: simulate.QuantilesOf(x.firsts),
		})
	}
	for _, name := range names {
		c := classes[name]
		r.Classes = append(r.Classes, simulate.ClassRow{Name: name, Share: c.delivered / max(total, 1), First: simulate.QuantilesOf(c.firsts)})
	}
	r.RequestRate, r.OutputRate, r.InputRate, r.CostRate = float64(r.Requests)/seconds, float64(output)/seconds, float64(input)/seconds, total/seconds
	return r
}
