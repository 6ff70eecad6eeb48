package proxy

import (
	"math"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

// QueueStatus is what the clients of streams see while they wait.
type QueueStatus struct {
	Heartbeat time.Duration // between comments; 0: none
	OpenWebUI bool          // it shows position and time
	After     time.Duration // none before somebody waited for so long
	Texts     Texts         // all empty: the English ones
	Language  string        // of refusals: LanguageEnglish, also if empty, or LanguageChinese
}

// SetQueueStatus changes what is shown, for who comes from now on.
func (s *Server) SetQueueStatus(q QueueStatus) {
	if q.Texts == (Texts{}) {
		q.Texts = English()
	}
	s.status.Store(&q)
}

const (
	// mostStatuses is how many status events a request gets at most, the closing ones
	// included: Open WebUI keeps each with the chat.
	mostStatuses = 10
	// toClose are kept to let the line vanish, when the answer begins and when it is over.
	toClose = 2
)

// teller decides what to say to somebody who waits, and when: at once when it is due,
// then at times that are ever farther apart, so that the statuses suffice for the
// whole wait. What it said of position and time never rises; if the queue says so, the
// text is that it takes longer. It is given the time, and has no clock.
type teller struct {
	texts   *Texts
	from    time.Time     // of the wait
	after   time.Duration // no status before
	longest time.Duration // that it may wait

	sent     int       // events
	said     string    // the last text that was sent and is not closed; empty: none is
	saidAt   time.Time // when
	closed   string    // the last text that was closed; empty: none is to be closed again
	position int       // the smallest that was shown; 0: none was
	eta      time.Duration

	next         string // the text of now; empty: nothing is known
	nextPosition int    // that it shows
	nextETA      time.Duration
}

// showsPlace reports whether the client shows statuses: Open WebUI, for a chat that
// a person looks at. The stream of anybody else must not have them.
func showsPlace(id *identity.Identity, e *scheduler.Entry) bool {
	return e.Stream && e.Endpoint == string(openai.Chat) && id.Forwarder && id.MessageID != "" && id.Task == ""
}

// tell lets the client hear of its place, if it shows it.
func (x *exchange) tell(e *scheduler.Entry) {
	status := x.s.status.Load()
	if status.OpenWebUI && showsPlace(x.id, e) {
		x.teller = &teller{texts: &status.Texts, from: x.rec.started, after: status.After, longest: x.maxWait()}
	}
}

// hear takes what the queue says.
func (t *teller) hear(ev *scheduler.CallEvent) {
	eta := stepOf(ev.ETA)
	if eta == 0 {
		eta = t.eta // what was said of it, rather than a line that comes and goes
	}
	t.nextPosition, t.nextETA = 0, 0
	switch {
	case ev.NoBackend:
		t.next = t.texts.Restarting
	case ev.Position <= 0:
		t.next = ""
	case t.position > 0 && ev.Position > t.position, t.eta > 0 && eta > t.eta:
		t.next = t.texts.Longer
	default:
		t.next, t.nextPosition, t.nextETA = t.texts.place(ev.Position, eta), ev.Position, eta
	}
}

// due is when there is something to say; zero: there is not.
func (t *teller) due() time.Time {
	if t.next == "" || t.next == t.said || t.sent+1+toClose > mostStatuses {
		return time.Time{}
	}
	at := t.from.Add(t.slot())
	if next := t.saidAt.Add(time.Second); t.sent > 0 && at.Before(next) {
		return next
	}
	return at
}

// slot is how long the wait has to last for the next status. They grow as the powers
// of a number, from after to the longest wait.
func (t *teller) slot() time.Duration {
	if t.sent == 0 {
		return t.after
	}
	first := max(t.after, time.Second).Seconds()
	ratio := max(t.longest.Seconds()/first, 1)
	return time.Duration(first * math.Pow(ratio, float64(t.sent)/(mostStatuses-toClose-1)) * float64(time.Second))
}

// say is the status to send at now; nil: none is due.
func (t *teller) say(now time.Time) []byte {
	if at := t.due(); at.IsZero() || now.Before(at) {
		return nil
	}
	t.sent++
	t.said, t.saidAt = t.next, now
	if t.nextPosition > 0 {
		t.position = t.nextPosition
	}
	if t.nextETA > 0 {
		t.eta = t.nextETA
	}
	return openai.StatusEvent(t.said, false)
}

// close is what lets the status vanish; nil: none is shown.
func (t *teller) close() []byte {
	t.next = ""
	if t.said == "" {
		return nil
	}
	t.sent++
	t.closed, t.said = t.said, ""
	return openai.StatusEvent(t.closed, true)
}

// closeAgain is for a page that was not connected when the status vanished, and would
// show it for ever beside its answer; nil: nothing was shown, or it was said before.
func (t *teller) closeAgain() []byte {
	if t.closed == "" {
		return nil
	}
	t.sent++
	text := t.closed
	t.closed = ""
	return openai.StatusEvent(text, true)
}
