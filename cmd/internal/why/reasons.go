package why

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"fairlane/scheduler"
)

// cause is the answer in one sentence.
func (t *teller) cause() string {
	waited := t.waited()
	if waited < hardly || t.r.CallID == "" || t.outcome() == scheduler.Refused { // which says why
		return ""
	}
	top := scheduler.BlockedTime{}
	if len(t.q.Blocked) > 0 {
		top = t.q.Blocked[0]
	}
	switch {
	case ms(top.MS) < waited/2:
	case top.By == scheduler.BlockedMaxRunning:
		return "It waited mostly because its person ran as much as one may at once."
	case top.By == scheduler.BlockedNoBackend:
		return "It waited mostly because no model server was up."
	case top.By == scheduler.BlockedKV:
		return "It waited mostly because the memory of the model server was full."
	case top.By == scheduler.BlockedPrefill:
		return "It waited mostly because the model server was reading long prompts."
	case top.By == scheduler.BlockedHeadroom:
		return "It waited mostly because the free slots are kept for another class."
	}
	return t.because()
}

// because is the cause where it was the queue.
func (t *teller) because() string {
	a := t.q.Arrived
	switch {
	case a.Position == 0:
		return ""
	case a.Own > 0 && a.OwnCost >= a.OtherCost:
		return "It waited mostly behind its person's own earlier requests."
	case a.Other > 0 && t.heavier() != "":
		return "It waited behind others, and " + t.heavier() + " has a larger share than its class."
	case a.Other > 0:
		return "It waited for the turns of others, who share with it."
	default:
		return "It was the next one and waited until something that ran had ended."
	}
}

// heavier names the class of more weight of which most waited; empty: none.
func (t *teller) heavier() string {
	ours, most := 0.0, scheduler.ClassStanding{}
	for _, c := range t.q.Arrived.Classes {
		if c.Class == t.r.Class {
			ours = c.Weight
		}
	}
	for _, c := range t.q.Arrived.Classes {
		if ours > 0 && c.Weight > ours && c.Waiting > most.Waiting {
			most = c
		}
	}
	return most.Class
}

// ahead is what was before it when it came.
func (t *teller) ahead() string {
	a := t.q.Arrived
	if a.Position == 0 {
		return ""
	}
	if a.Position == 1 {
		s := "When it came nobody was before it"
		if reason := obstacle(a.Blocked); reason != "" {
			s += ", but " + reason
		}
		return s + t.crowd() + "."
	}
	var parts []string
	if a.Own > 0 {
		parts = append(parts, fmt.Sprintf("%d of the same person (about %s tokens of cost)", a.Own, number(a.OwnCost)))
	}
	if a.Other > 0 {
		parts = append(parts, fmt.Sprintf("%d of others (about %s)", a.Other, number(a.OtherCost)))
	}
	return fmt.Sprintf("When it came it was number %d: before it %s were expected to be served%s.", a.Position, strings.Join(parts, " and "), t.crowd())
}

// crowd is how the classes stood then.
func (t *teller) crowd() string {
	var waiting, running []string
	for _, c := range t.q.Arrived.Classes {
		if c.Waiting > 0 {
			waiting = append(waiting, fmt.Sprintf("%d %s (weight %s)", c.Waiting, c.Class, number(c.Weight)))
		}
		if c.Running > 0 {
			running = append(running, fmt.Sprintf("%d %s", c.Running, c.Class))
		}
	}
	s := ""
	if len(waiting) > 0 {
		s = "; waiting were " + strings.Join(waiting, ", ")
	}
	if len(running) > 0 {
		s += "; running were " + strings.Join(running, ", ")
	}
	return s
}

// worth is a time that is told: a twentieth of the wait, and not less than hardly.
func (t *teller) worth() time.Duration { return max(t.waited()/20, hardly) }

// inTheWay is what kept it from starting.
func (t *teller) inTheWay() string {
	var parts []string
	for _, b := range t.q.Blocked {
		if d := ms(b.MS); d >= t.worth() {
			parts = append(parts, fmt.Sprintf("for %s %s", scheduler.Words(d), obstacle(b.By)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	s := strings.Join(parts, ", ")
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

func obstacle(by string) string {
	switch by {
	case scheduler.BlockedSlots:
		return "all slots of the model server were taken"
	case scheduler.BlockedKV:
		return "the memory of the model server had no room for whose turn it was"
	case scheduler.BlockedPrefill:
		return "the model server was reading long prompts"
	case scheduler.BlockedHeadroom:
		return "the free slots were kept for another class"
	case scheduler.BlockedMaxRunning:
		return "its person ran as much as one may at once"
	case scheduler.BlockedNoBackend:
		return "no model server was up"
	default:
		return by
	}
}

// attempts tells of them if there was more than the one that served it.
func (t *teller) attempts() string {
	if len(t.q.Attempts) < 2 {
		return ""
	}
	parts := make([]string, len(t.q.Attempts))
	for i, a := range t.q.Attempts {
		parts[i] = a.Backend + " " + attemptEnd(a.End)
	}
	return fmt.Sprintf("It took %d attempts: %s.", len(parts), strings.Join(parts, ", then "))
}

func attemptEnd(end string) string {
	switch end {
	case "":
		return "has it now"
	case "busy":
		return "asked for a moment"
	case "unreachable":
		return "could not be reached"
	case "died":
		return "went down while it had it"
	case "failed", "backend":
		return "failed before the first word"
	case "worker":
		return "was given up, because the worker in between went away"
	case "proxy":
		return "was given up, because the edge did not answer its worker"
	case "replaced":
		return "was replaced by a newer attempt"
	case string(scheduler.Completed):
		return "served it"
	default:
		return "(" + end + ")"
	}
}

// rules is which rule gave what.
func (t *teller) rules() string {
	if t.r.Class == "" || t.r.Class == "none" {
		return ""
	}
	s := "Its class is " + t.r.Class
	if t.e.ClassFrom != "" {
		s += ", from " + t.e.ClassFrom
	}
	if t.e.Weight > 0 && t.e.Weight != 1 {
		s += fmt.Sprintf("; its person's weight there is %s, from %s", number(t.e.Weight), t.e.WeightFrom)
	}
	met := func(b scheduler.BlockedTime) bool { return b.By == scheduler.BlockedMaxRunning }
	if t.e.MaxRunning > 0 && slices.ContainsFunc(t.q.Blocked, met) {
		s += fmt.Sprintf("; one person may run %d at once, from %s", t.e.MaxRunning, t.e.MaxRunningFrom)
	}
	return s + "."
}

// cost is what it was charged, and what for.
func (t *teller) cost() string {
	q := t.q
	if len(q.Attempts) == 0 {
		return ""
	}
	last := q.Attempts[len(q.Attempts)-1]
	if q.End == "" {
		return fmt.Sprintf("So far it was charged %s tokens of cost.", number(last.Charged))
	}
	if q.Settled == 0 {
		return fmt.Sprintf("It was charged %s tokens of cost when it began, and nothing in the end.", number(last.Charged))
	}
	return fmt.Sprintf("It was charged %s tokens of cost when it began and %s in the end: prompt %d (%d of it cached) and answer %d, where %d (%d) and %d were expected.",
		number(last.Charged), number(q.Settled), q.Usage.Input, q.Usage.Cached, q.Usage.Output, q.Expected.Input, q.Expected.Cached, q.Expected.Output)
}
