package proxy

import (
	"math"
	"time"

	"fairlane/scheduler"
)

// Receipts keeps what became of requests, and why. What it is given is not changed
// any more; it does not block.
type Receipts interface {
	Began(r *scheduler.Receipt) // it is in the queue
	Ended(r *scheduler.Receipt) // it is over, whether it was in the queue or not
}

// half is a receipt with the edge's half of it, in one piece.
type half struct {
	scheduler.Receipt
	edge scheduler.EdgeReceipt
}

// receipt is what is known of a request when policy has spoken, or when it ended
// before that.
func (x *exchange) receipt() *half {
	r := &half{
		Receipt: scheduler.Receipt{At: x.rec.started.Round(time.Microsecond), Pool: x.rec.pool, Class: x.rec.class},
		edge:    scheduler.EdgeReceipt{RequestID: x.rec.requestID, Endpoint: string(x.route.Endpoint), Model: x.rec.model, Sequences: x.rec.sequences},
	}
	e := &r.edge
	r.Edge = e
	if id := x.id; id != nil {
		r.User, r.Chat, e.UserName, e.Email = id.UserKey, id.ChatID, id.Name, id.Email
	}
	if q := x.req; q != nil {
		e.Stream, e.MaxTokens = q.Stream, q.MaxTokens
	}
	if d := x.decision; d != nil {
		e.Task, e.Size, e.Weight, e.MaxRunning = d.Task, d.Size, d.UserWeight, d.MaxRunning
		e.MaxWaitMS = float64(x.maxWait().Milliseconds())
		e.ClassFrom, e.WeightFrom, e.MaxRunningFrom = d.Origins()
	}
	if x.s.cfg.RecordAsked && x.id != nil && x.req != nil {
		r.Asked = x.asked()
	}
	return r
}

// asked is what policy looked at.
func (x *exchange) asked() *scheduler.Asked {
	id, q := x.id, x.req
	a := &scheduler.Asked{
		ID: id.ID, Roles: id.Roles, Groups: id.Groups, Key: id.KeyID, Auth: string(id.AuthType), IP: id.IP,
		Chars: x.s.estimates.chars(x.at.model, q), Estimate: x.s.estimates.input(x.at.model, q), Prefix: q.PrefixHash,
	}
	if x.decision != nil {
		a.Priority = x.decision.Priority
	}
	return a
}

// began hands a receipt over when the request is in the queue.
func (x *exchange) began(callID string) {
	if x.s.deps.Receipts == nil || x.opened == nil {
		return
	}
	x.opened.CallID = callID
	x.s.deps.Receipts.Began(&x.opened.Receipt)
}

// receive hands the whole receipt over. Of what never was a request of somebody for
// the queue there is none: nobody would ask, and anybody could fill the log.
func (x *exchange) receive() {
	if x.s.deps.Receipts == nil || !x.route.Queued || x.rec.userKey == "" {
		return
	}
	r := x.opened
	if r == nil {
		r = x.receipt()
	} else { // which was given away, and is not changed any more
		r = new(*r)
		r.Edge = &r.edge
	}
	r.CallID = x.rec.callID
	x.rec.close(&r.edge)
	x.s.deps.Receipts.Ended(&r.Receipt)
}

// close writes how it ended.
func (r *record) close(e *scheduler.EdgeReceipt) {
	e.EndedAt, e.Outcome, e.Status = r.ended.Round(time.Microsecond), r.outcome, r.status
	e.Backend, e.Attempts, e.Usage, e.Cost = r.backend, r.attempts, r.usage, r.cost
	e.Granted = !r.granted.IsZero()
	e.WaitMS, e.TTFTMS, e.DurationMS = millis(r.started, r.granted), millis(r.started, r.first), millis(r.started, r.ended)
	if math.IsNaN(e.Cost) || math.IsInf(e.Cost, 0) { // no JSON has these
		e.Cost = 0
	}
	p := r.problem
	if p == nil {
		return
	}
	e.Code, e.Reason, e.Limit, e.RetryAfter = p.Code, p.Reason, p.Limit, p.RetryAfter.Seconds()
	if r.outcome == scheduler.Refused || r.outcome == scheduler.Expired { // other messages may quote the client
		e.Message = p.Message
	}
}
