package proxy

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"fairlane/scheduler"
)

// listTimeout is how long the leader of a pool has to say what it has.
const listTimeout = 2 * time.Second

// mineObject is a request of the caller's own, as GET /v1/queue tells it.
type mineObject struct {
	ID            string   `json:"id"` // as the log's call_id; part of the id that an answer carries
	Object        string   `json:"object"`
	Pool          string   `json:"pool"`
	Model         string   `json:"model"`
	Class         string   `json:"class"`
	State         string   `json:"state"`       // waiting, no_backend (it waits, and no model server is up) or running
	Position      *int     `json:"position"`    // 1 is next; null: it runs
	ETASeconds    *float64 `json:"eta_seconds"` // null: not known, or it runs
	WaitedSeconds float64  `json:"waited_seconds"`
}

// mineList is what GET /v1/queue answers.
type mineList struct {
	Object string       `json:"object"`
	Data   []mineObject `json:"data"`
	// Unknown are pools whose leader did not answer.
	Unknown []string `json:"unknown,omitempty"`
}

func mineOf(pool string, l *scheduler.Listed) mineObject {
	tenths := func(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }
	m := mineObject{ID: l.ID, Object: "queue.request", Pool: pool, Model: l.Model, Class: l.Class, State: "waiting", WaitedSeconds: tenths(l.Waited)}
	switch {
	case l.Running:
		m.State = "running"
		return m
	case l.NoBackend:
		m.State = "no_backend"
	case l.ETA > 0:
		m.ETASeconds = new(tenths(l.ETA))
	}
	m.Position = new(l.Position)
	return m
}

// mine answers GET /v1/queue: what waits and runs of whoever asks, over all proxies.
// The leaders know, and each tells of a hundred at most.
func (x *exchange) mine() {
	ctx, cancel := context.WithTimeout(x.r.Context(), listTimeout)
	defer cancel()
	pools := x.s.deps.Catalog().pools()
	found, errs := make([][]scheduler.Listed, len(pools)), make([]error, len(pools))
	var wg sync.WaitGroup
	for i, pool := range pools {
		wg.Go(func() { found[i], errs[i] = x.s.deps.Lister(pool).List(ctx, x.id.UserKey) })
	}
	wg.Wait()
	list := mineList{Object: "list", Data: []mineObject{}}
	for i, pool := range pools {
		if errs[i] != nil {
			list.Unknown = append(list.Unknown, pool)
			x.s.deps.Logger.DebugContext(ctx, "the leader of a pool does not say what it has", slog.String("pool", pool), slog.Any("error", errs[i]))
		}
		for _, l := range found[i] {
			list.Data = append(list.Data, mineOf(pool, &l))
		}
	}
	x.header().Set("Cache-Control", "no-store")
	x.answerJSON(list)
}
