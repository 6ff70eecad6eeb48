package arrivals

import (
	"hash/fnv"
	"time"

	"fairlane/scheduler"
)

// Of is the record of a request that is over, from the edge's half of its receipt;
// false: it never got so far that policy spoke, so nothing is to be replayed.
func Of(r *scheduler.Receipt) (a Arrival, ok bool) {
	if r.Asked == nil || r.Edge == nil || r.Class == "" || r.User == "" {
		return Arrival{}, false
	}
	e, q := r.Edge, r.Asked
	a = Arrival{
		At: r.At, User: r.User, ID: q.ID, Email: e.Email, Roles: q.Roles, Groups: q.Groups, Key: q.Key, Auth: q.Auth, IP: q.IP,
		Pool: r.Pool, Model: e.Model, Endpoint: e.Endpoint, Task: e.Task, Stream: e.Stream, Class: r.Class,
		Sequences: e.Sequences, Chars: q.Chars, Estimate: q.Estimate, Input: q.Estimate, MaxTokens: e.MaxTokens,
		Prefix: q.Prefix, Chat: hash(r.Chat), Priority: q.Priority,
		Outcome: string(e.Outcome), Wait: time.Duration(e.WaitMS * float64(time.Millisecond)),
	}
	if e.Usage.Input > 0 {
		a.Input, a.Cached, a.Output = e.Usage.Input, e.Usage.Cached, e.Usage.Output
	}
	if a.Endpoint == "chat" {
		a.Endpoint = ""
	}
	return a, true
}

// hash names a conversation; 0: none.
func hash(chat string) uint64 {
	if chat == "" {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(chat)) // it never fails
	return h.Sum64()
}
