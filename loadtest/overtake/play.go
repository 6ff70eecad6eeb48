package overtake

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"fairlane/loadtest/client"
)

// Play runs the scene and tells about it on out: the flood comes, fills the
// slots and the queue, and then the VIP asks.
func Play(ctx context.Context, cfg Config, out io.Writer) (Result, error) {
	s := New(cfg)
	start := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	flooded := make(chan struct{})
	fmt.Fprintf(out, "bulk@example.com sends %d requests of %d tokens at once …\n", cfg.Flood, cfg.Tokens)
	go func() { defer close(flooded); s.Flood(ctx, client.Person{Name: "bulk"}) }()
	if err := s.untilBusy(ctx, out); err != nil {
		return Result{}, err
	}
	fmt.Fprintf(out, "… %d are answered. Now vip@example.com asks once.\n", s.Done())
	r := Result{VIP: s.Ask(ctx, client.Person{Name: "vip", Groups: []string{"vip"}}), Flood: cfg.Flood}
	r.FloodDone, r.Turnover = s.Done(), s.Turnover()
	if r.VIP.Err != nil {
		return r, fmt.Errorf("the VIP was not answered: %w", r.VIP.Err)
	}
	fmt.Fprintf(out, "vip's first token came after %s, its whole answer after %s. A slot turns over every %s; %d of the flood were answered by then.\n",
		r.VIP.FirstToken.Round(time.Millisecond), r.VIP.Whole.Round(time.Millisecond), r.Turnover.Round(time.Millisecond), r.FloodDone)
	select {
	case <-flooded:
	case <-ctx.Done():
	}
	r.Took = time.Since(start)
	fmt.Fprintf(out, "the flood ends after %s: in order of arrival the VIP would have waited about that long.\n", r.Took.Round(100*time.Millisecond))
	return r, nil
}

// untilBusy waits until a tenth of the flood is answered, so that slots turn
// over as they will, and shows the queue meanwhile.
func (s *Scene) untilBusy(ctx context.Context, out io.Writer) error {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		s.show(ctx, out)
		if s.Done() >= s.cfg.Flood/10 {
			return nil
		}
	}
}

func (s *Scene) show(ctx context.Context, out io.Writer) {
	if s.cfg.Waiting == nil {
		return
	}
	if n, err := s.cfg.Waiting(ctx); err == nil {
		fmt.Fprintf(out, "   waiting %4d   answered %4d\n", n, s.Done())
	}
}

func median(ds []time.Duration) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(ds))
	return sorted[len(sorted)/2]
}
