package why

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"fairlane/scheduler"
)

// hardly is a wait that nobody notices.
const hardly = 250 * time.Millisecond

// Tell writes the story of one request. Times are in loc.
func Tell(out io.Writer, r *scheduler.Receipt, now time.Time, loc *time.Location) error {
	t := &teller{r: r, e: r.Edge, q: r.Queue, now: now, loc: loc}
	if t.e == nil {
		t.e = &scheduler.EdgeReceipt{}
	}
	if t.q == nil {
		t.q = &scheduler.QueueReceipt{}
	}
	_, err := fmt.Fprintf(out, "%s\n\n%s\n\n%s", t.head(), wrap(t.story(), 88), t.timeline())
	return err
}

// teller tells of one request. What is not known of it is empty.
type teller struct {
	r   *scheduler.Receipt
	e   *scheduler.EdgeReceipt
	q   *scheduler.QueueReceipt
	now time.Time
	loc *time.Location
}

func (t *teller) head() string {
	s := "Request " + cmp.Or(t.e.RequestID, t.r.CallID) + " of " + t.who()
	if t.e.Email != "" && t.e.Email != t.who() {
		s += " <" + t.e.Email + ">"
	}
	s += ", " + t.r.At.In(t.loc).Format("2 Jan 2006 15:04:05")
	if t.e.Model != "" && t.e.Model != "none" {
		s += ", " + t.e.Model
	}
	if t.e.Task != "" {
		s += ", " + t.e.Task
	}
	return s
}

func (t *teller) who() string {
	_, id, _ := strings.Cut(t.r.User, ":")
	return cmp.Or(t.e.UserName, t.e.Email, id, t.r.User, "somebody")
}

// story is the paragraph.
func (t *teller) story() string {
	parts := []string{t.end(), t.cause(), t.ahead(), t.inTheWay(), t.attempts(), t.rules(), t.cost()}
	var said []string
	for _, p := range parts {
		if p != "" {
			said = append(said, p)
		}
	}
	return strings.Join(said, " ")
}

// waited is how long it waited, or waits.
func (t *teller) waited() time.Duration {
	switch {
	case t.e.Granted:
		return ms(t.e.WaitMS)
	case len(t.q.Attempts) > 0:
		return t.q.Attempts[0].At.Sub(t.r.At)
	case !t.e.EndedAt.IsZero():
		return t.e.EndedAt.Sub(t.r.At)
	case !t.q.EndedAt.IsZero():
		return t.q.EndedAt.Sub(t.r.At)
	default:
		return t.now.Sub(t.r.At)
	}
}

// outcome is how it ended, whoever knows it; empty: it is not over, or nobody knows.
func (t *teller) outcome() scheduler.Outcome {
	return cmp.Or(t.e.Outcome, scheduler.Outcome(t.q.End))
}

// end says how it ended, or how it stands.
func (t *teller) end() string {
	waited := scheduler.Words(t.waited())
	switch t.outcome() {
	case scheduler.Completed:
		return t.completed()
	case scheduler.Cancelled:
		if t.e.Granted {
			return fmt.Sprintf("It waited %s, and its client left %s after it had asked, before the answer was whole.", waited, scheduler.Words(ms(t.e.DurationMS)))
		}
		return fmt.Sprintf("Its client left after %s of waiting.", waited)
	case scheduler.Refused:
		return t.refused()
	case scheduler.Expired:
		return fmt.Sprintf("It waited in vain: after %s, the most that it may wait, it was told to give up.", waited)
	case scheduler.Invalid:
		return fmt.Sprintf("It was refused as wrong (%s), which has nothing to do with waiting.", cmp.Or(string(t.e.Code), fmt.Sprint("status ", t.e.Status)))
	case scheduler.Failed:
		return fmt.Sprintf("It waited %s and then failed: %s.", waited, t.failure())
	case scheduler.Lost:
		return fmt.Sprintf("It waited %s; then the process that brought its answer went away, and the answer broke off.", waited)
	default:
		return t.open()
	}
}

func (t *teller) completed() string {
	s := fmt.Sprintf("It waited %s for its turn", scheduler.Words(t.waited()))
	if t.waited() < hardly {
		s = "It hardly waited (" + scheduler.Words(t.waited()) + ")"
	}
	if t.e.TTFTMS > 0 {
		s += fmt.Sprintf(", the answer began %s after it was asked", scheduler.Words(ms(t.e.TTFTMS)))
	}
	if t.e.DurationMS > 0 {
		s += " and was whole after " + scheduler.Words(ms(t.e.DurationMS))
	}
	return s + "."
}

func (t *teller) refused() string {
	s := "It was refused at once"
	if t.r.CallID != "" && t.waited() >= hardly {
		s = fmt.Sprintf("It was refused after %s of waiting", scheduler.Words(t.waited()))
	}
	s += ": " + t.bound()
	if t.e.Message != "" {
		s += fmt.Sprintf(" The client was told: “%s”", t.e.Message)
	}
	if t.e.RetryAfter > 0 {
		s += fmt.Sprintf(" It may come back after %s.", scheduler.Words(time.Duration(t.e.RetryAfter*float64(time.Second))))
	}
	return s
}

// bound is what refused it.
func (t *teller) bound() string {
	switch t.e.Reason {
	case scheduler.ReasonRequests, scheduler.ReasonTokens, scheduler.ReasonSize:
		return fmt.Sprintf("its limit of %s was used up.", t.e.Limit)
	case scheduler.ReasonUserQueue:
		return "the person had as many requests waiting as one may."
	case scheduler.ReasonClassQueue, scheduler.ReasonPoolQueue, scheduler.ReasonShed, scheduler.ReasonMemory:
		return "too much waited already (" + string(t.e.Reason) + ")."
	case scheduler.ReasonOwnBacklog:
		return "the person's own waiting requests would have taken longer than it may wait."
	case scheduler.ReasonDeadline:
		return "the queue was longer than it may wait."
	case scheduler.ReasonHold:
		return "the model server had no room for it for too long."
	case scheduler.ReasonNoBackend:
		return "no model server was up."
	case scheduler.ReasonStore:
		return "the store of the queue did not answer."
	case scheduler.ReasonShuttingDown:
		return "fairlane was shutting down."
	default:
		return cmp.Or(string(t.e.Code), "a bound was met") + "."
	}
}

func (t *teller) failure() string {
	switch t.e.Code {
	case scheduler.CodeBackendCrashed:
		return "the model server went down twice while it worked on it"
	case scheduler.CodeBackendTimeout:
		return "the model server did not answer in time"
	case scheduler.CodeNoBackend:
		return "no model server was up"
	case scheduler.CodeBackendFailed:
		return "the model server " + t.broke()
	default:
		return "something went wrong inside fairlane (" + cmp.Or(string(t.e.Code), fmt.Sprint("status ", t.e.Status)) + ")"
	}
}

// broke says how far the answer had come. The status of a stream may be older than it.
func (t *teller) broke() string {
	if t.e.TTFTMS > 0 || t.e.Status == http.StatusOK && !t.e.Stream {
		return "broke off in the middle of its answer"
	}
	return "failed before its answer began"
}

// open is how a request stands that is not over.
func (t *teller) open() string {
	n := t.q.Now
	switch {
	case n == nil && t.q.End == "" && len(t.q.Attempts) == 0 && t.e.EndedAt.IsZero():
		return "How it ended is not known: it is neither waiting nor running, and the process that held it wrote nothing more."
	case n == nil:
		return "How it ended is not known yet."
	case n.Position == 0:
		last := t.q.Attempts[len(t.q.Attempts)-1]
		return fmt.Sprintf("It waited %s and runs on %s since %s.", scheduler.Words(t.waited()), last.Backend, scheduler.Words(t.now.Sub(last.At)))
	}
	s := fmt.Sprintf("It still waits, since %s, and is number %d now", scheduler.Words(t.waited()), n.Position)
	if n.ETAMS > 0 {
		s += fmt.Sprintf("; it takes about %s more", scheduler.Words(ms(n.ETAMS)))
	}
	if reason := obstacle(n.Blocked); reason != "" {
		s += ". What it waits for at the moment: " + reason
	}
	return s + "."
}
