package calls

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"fairlane/scheduler"
)

// Submit publishes the request and opens its call. A Problem says why it was
// not accepted.
func (d *Desk) Submit(ctx context.Context, s *scheduler.Submission) (scheduler.Call, error) {
	stream, ok := d.cfg.Streams[s.Entry.Pool]
	if !ok {
		return nil, scheduler.Problemf(scheduler.CodeInternal, "no stream for the pool %q", s.Entry.Pool)
	}
	s.Entry.ID, s.Entry.Proxy, s.Entry.Mode = d.cfg.NewID(), d.cfg.ID, scheduler.ModeSync
	c := newCall(d, s)
	d.put(c)
	if _, err := stream.Publish(ctx, &s.Entry); err != nil {
		c.Cancel() // the publish may have arrived all the same
		return nil, publishProblem(err, &s.Entry)
	}
	c.published(s.Entry.ID)
	return c, nil
}

// publishProblem says why a request was not accepted. One whose time was over did
// not wait for the store: whoever wants to wait for less than it takes is told that.
func publishProblem(err error, e *scheduler.Entry) *scheduler.Problem {
	p, ok := errors.AsType[*scheduler.Problem](err)
	if now := time.Now(); (!ok || p.Reason == scheduler.ReasonStore) && !e.Deadline.IsZero() && !now.Before(e.Deadline) {
		return scheduler.Overdue(now.Sub(e.AcceptedAt))
	}
	if ok {
		return p
	}
	return scheduler.Refusal(scheduler.CodeOverloaded, scheduler.ReasonStore, 2*time.Second,
		"the queue's store does not answer; please try again in a few seconds")
}

// published notes that the publish under an id returned: from now on somebody may
// be expected to know the call.
func (c *call) published(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.id == id {
		c.publishing = false
		c.heardLocked()
	}
}

// againLocked publishes the call under a new id, because the stream takes a message
// id only once. The old one answers gone from here on.
func (c *call) againLocked(why string) {
	d := c.desk
	if c.worker != "" {
		d.cancelAttempt(c.id, c.worker, c.fence)
		c.worker, c.fence = "", scheduler.Fence{}
	}
	c.unpublish()
	fresh := *c.sub
	fresh.Entry.ID = d.cfg.NewID()
	d.rename(c, c.id, fresh.Entry.ID)
	c.sub, c.id, c.publishing = &fresh, fresh.Entry.ID, true
	d.cfg.Logger.Warn("publishing a request again", slog.String("id", c.id), slog.String("reason", why))
	d.background.errand(attempt{}, func(ctx context.Context) error { return c.publish(ctx, &fresh.Entry) }, func() { c.published(fresh.Entry.ID) })
}

// publish is one try, which ends with the call, or with its id.
func (c *call) publish(ctx context.Context, e *scheduler.Entry) error {
	alive, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	wanted := !c.over && c.id == e.ID
	if wanted {
		c.unpublish = cancel
	}
	c.mu.Unlock()
	if !wanted {
		return nil
	}
	_, err := c.desk.cfg.Streams[e.Pool].Publish(alive, e)
	return err
}
