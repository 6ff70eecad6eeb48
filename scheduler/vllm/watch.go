package vllm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"fairlane/scheduler"
)

const (
	probeTimeout = 2 * time.Second
	modelsEvery  = 10 // probes between two looks at the list of models
	patience     = 3  // slow answers in a row until a backend that had been up is down
	maxModels    = 1 << 20
	maxMetrics   = 8 << 20
)

// Start begins to watch the backend. onChange is called, from the watching
// goroutine, when the backend goes up or down or its models change. It may be
// called again after Stop; a second Start is nothing.
func (b *Backend) Start(ctx context.Context, onChange func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel != nil {
		return
	}
	ctx, b.cancel = context.WithCancel(ctx)
	b.done = make(chan struct{})
	go b.watch(ctx, b.done, onChange)
}

// Stop ends the watching and drops idle connections.
func (b *Backend) Stop() {
	b.mu.Lock()
	cancel, done := b.cancel, b.done
	b.cancel = nil
	b.mu.Unlock()
	if cancel != nil {
		cancel()
		<-done
	}
	b.transport.CloseIdleConnections()
}

// Status is what was last seen. It is not to be changed.
func (b *Backend) Status() *scheduler.BackendStatus { return b.status.Load() }

// Look probes now instead of at the next beat and waits for what is seen. Of a
// backend that is not watched it is what was seen last.
func (b *Backend) Look(ctx context.Context) *scheduler.BackendStatus {
	b.mu.Lock()
	done := b.done
	b.mu.Unlock()
	if done == nil {
		return b.Status()
	}
	seen := make(chan struct{})
	select {
	case b.kick <- seen:
	case <-done:
		return b.Status()
	case <-ctx.Done():
		return b.Status()
	}
	select {
	case <-seen:
	case <-done:
	case <-ctx.Done():
	}
	return b.Status()
}

func (b *Backend) watch(ctx context.Context, done chan struct{}, onChange func()) {
	defer close(done)
	ticker := time.NewTicker(b.cfg.Probe)
	defer ticker.Stop()
	var p prober
	var waiting []chan struct{}
	for {
		s := p.probe(ctx, b)
		if ctx.Err() != nil {
			return // what a probe says that was cut off is nothing
		}
		b.observe(s, onChange)
		for _, seen := range waiting {
			close(seen)
		}
		waiting = waiting[:0]
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case seen := <-b.kick:
			waiting = append(waiting, seen)
		}
		waiting = b.join(waiting)
	}
}

// join takes all who want a look: one is enough for them.
func (b *Backend) join(waiting []chan struct{}) []chan struct{} {
	for {
		select {
		case seen := <-b.kick:
			waiting = append(waiting, seen)
		default:
			return waiting
		}
	}
}

// observe publishes a status and tells about what an operator would notice.
func (b *Backend) observe(s *scheduler.BackendStatus, onChange func()) {
	old := b.status.Swap(s)
	changed := old.Up != s.Up || !slices.Equal(names(old.Models), names(s.Models))
	if !changed {
		return
	}
	if s.Up {
		b.cfg.Logger.Info("backend is up", slog.String("backend", b.host), slog.Any("models", names(s.Models)))
	} else {
		b.cfg.Logger.Warn("backend is down", slog.String("backend", b.host), slog.String("reason", s.Detail))
	}
	if onChange != nil {
		onChange()
	}
}

func names(ms []scheduler.Model) []string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = m.ID
	}
	return out
}

// prober holds what a look remembers of the looks before it.
type prober struct {
	slow   int
	looks  int
	models []scheduler.Model
	last   *scheduler.BackendStatus
}

func (p *prober) probe(ctx context.Context, b *Backend) *scheduler.BackendStatus {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	s := &scheduler.BackendStatus{URL: b.cfg.URL}
	if err := b.health(ctx); err != nil {
		return p.unhealthy(s, err)
	}
	p.slow = 0
	if p.models == nil || p.looks%modelsEvery == 0 {
		models, err := b.models(ctx)
		if err != nil && p.models == nil {
			s.Detail = err.Error()
			p.last = s
			return s
		}
		if err == nil {
			p.models = models
		}
	}
	p.looks++
	s.Up, s.Models = true, p.models
	s.Scrape = b.scrape(ctx)
	p.last = s
	return s
}

// unhealthy decides whether one bad look is enough. A refused connection and a
// 503 are the backend's own word; a slow answer may only be a busy machine.
func (p *prober) unhealthy(s *scheduler.BackendStatus, err error) *scheduler.BackendStatus {
	if errors.Is(err, context.DeadlineExceeded) && p.last != nil && p.last.Up {
		if p.slow++; p.slow < patience {
			return p.last
		}
	}
	p.models = nil
	s.Detail = err.Error()
	p.last = s
	return s
}

// health asks /health. A backend without one (a 404) is judged by its models.
func (b *Backend) health(ctx context.Context) error {
	status, _, err := b.get(ctx, "/health", 4<<10)
	switch {
	case err != nil:
		return err
	case status == http.StatusOK, status == http.StatusNotFound, status == http.StatusNoContent:
		return nil
	default:
		return fmt.Errorf("backend %s: /health answers %d", b.host, status)
	}
}

func (b *Backend) models(ctx context.Context) ([]scheduler.Model, error) {
	status, body, err := b.get(ctx, "/v1/models", maxModels)
	if err != nil {
		return nil, err
	}
	switch status {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, fmt.Errorf("backend %s: /v1/models answers %d: set its api_key in pools[].backends[]", b.host, status)
	default:
		return nil, fmt.Errorf("backend %s: /v1/models answers %d", b.host, status)
	}
	var list struct {
		Data []scheduler.Model `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("backend %s: /v1/models: %w", b.host, err)
	}
	list.Data = slices.DeleteFunc(list.Data, func(m scheduler.Model) bool { return m.ID == "" })
	if len(list.Data) == 0 {
		return nil, fmt.Errorf("backend %s: /v1/models names no model", b.host)
	}
	return list.Data, nil
}
