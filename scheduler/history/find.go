package history

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"fairlane/scheduler"
)

const (
	defaultLimit = 20
	mostFound    = 1000
	askPatience  = 2 * time.Second
)

// Query says whose receipts are asked for. Exactly one of ID, User and Chat is set,
// or none for the newest of all.
type Query struct {
	ID    string    // of the request, as the client was told, or of the call
	User  string    // a key as in the log, an id, an email or a name
	Chat  string    // a conversation
	Since time.Time // that ended, or still waited or ran, from then on; zero: as far back as is kept
	Limit int       // the newest so many; 0: 20, at most 1,000
}

// Find answers with receipts, the newest first. What is not over is joined with
// what its leader says of it now.
func (b *Book) Find(ctx context.Context, q Query) ([]scheduler.Receipt, error) {
	q.Limit = min(cmp.Or(max(q.Limit, 0), defaultLimit), mostFound)
	b.overdue(time.Now().Add(openFor)) // all that is known here is looked at
	b.flush(ctx)
	f := &finder{q: q, found: map[string]*scheduler.Receipt{}}
	if err := b.scan(ctx, q.Since, f.edge); err != nil {
		return nil, err
	}
	f.trim()
	if since, any := f.since(); any {
		if err := b.scan(ctx, since, f.queue); err != nil {
			return nil, err
		}
	}
	b.live(ctx, f)
	f.trim()
	return f.sorted(), nil
}

// scan calls fn with each line of the log. A piece that can't be read is skipped:
// another version wrote it.
func (b *Book) scan(ctx context.Context, since time.Time, fn func(line []byte)) error {
	return b.cfg.Log.Scan(ctx, since, func(piece []byte) bool {
		lines, err := unpack(piece)
		if err != nil {
			b.cfg.Logger.DebugContext(ctx, "a piece of the receipts can't be read", slog.Any("error", err))
		}
		for line := range bytes.Lines(lines) {
			fn(line)
		}
		return ctx.Err() == nil
	})
}

// live adds what the leaders know of what is not over.
func (b *Book) live(ctx context.Context, f *finder) {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	ask := f.ask()
	for _, l := range b.cfg.Leaders {
		found, err := l.Explain(ctx, ask)
		if err != nil { // no leader now: what is in the log has to do
			b.cfg.Logger.DebugContext(ctx, "a leader does not tell of what waits", slog.Any("error", err))
			continue
		}
		for i := range found {
			f.join(&found[i])
		}
	}
}

// finder gathers what was asked for.
type finder struct {
	q     Query
	found map[string]*scheduler.Receipt // by key
}

// key joins the halves. What never got into the queue has only one.
func key(r *scheduler.Receipt) string {
	if r.CallID != "" || r.Edge == nil {
		return r.CallID
	}
	return r.Edge.RequestID + r.At.String()
}

// edge takes a line if it is the edge's half of a request that is asked for.
func (f *finder) edge(line []byte) {
	if !f.mayMatch(line) {
		return
	}
	r := &scheduler.Receipt{}
	if json.Unmarshal(line, r) != nil || !f.matches(r) {
		return
	}
	f.join(r)
	if len(f.found) >= 4*mostFound {
		f.trim()
	}
}

// mayMatch spares most lines the decoding.
func (f *finder) mayMatch(line []byte) bool {
	for _, s := range [...]string{f.q.ID, f.q.User, f.q.Chat} {
		if s != "" && plain(s) && !bytes.Contains(line, []byte(s)) && !bytes.Contains(line, []byte(strings.ToLower(s))) {
			return false
		}
	}
	return true
}

// plain reports whether JSON writes a text as it is.
func plain(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) < 0
}

func (f *finder) matches(r *scheduler.Receipt) bool {
	q := &f.q
	switch {
	case q.ID != "":
		return r.CallID == q.ID || r.Edge != nil && r.Edge.RequestID == q.ID
	case q.Chat != "":
		return r.Chat == q.Chat
	case q.User != "":
		return isUser(r, q.User)
	default:
		return true
	}
}

func isUser(r *scheduler.Receipt, user string) bool {
	_, id, _ := strings.Cut(r.User, ":")
	if r.User == user || id == user || strings.EqualFold(id, user) {
		return true
	}
	return r.Edge != nil && (r.Edge.UserName == user || strings.EqualFold(r.Edge.Email, user))
}

// queue takes a line if it is the leader's half of a request that was found.
func (f *finder) queue(line []byte) {
	const before = `{"call_id":"`
	rest, ok := bytes.CutPrefix(line, []byte(before))
	id, _, ended := bytes.Cut(rest, []byte{'"'})
	if !ok || !ended || f.found[string(id)] == nil {
		return
	}
	r := &scheduler.Receipt{}
	if json.Unmarshal(line, r) == nil && r.Queue != nil {
		f.join(r)
	}
}

// join adds a half to what is known. The edge's last word counts, and of two leaders
// the one who saw its end, with what the other one saw it come by.
func (f *finder) join(r *scheduler.Receipt) {
	have := f.found[key(r)]
	if have == nil {
		f.found[key(r)] = r
		return
	}
	if r.Edge != nil && (have.Edge == nil || have.Edge.EndedAt.IsZero()) {
		have.Edge = r.Edge
	}
	switch {
	case r.Queue == nil:
	case have.Queue == nil:
		have.Queue = r.Queue
	case r.Queue.Now != nil || have.Queue.End == "" && r.Queue.End != "":
		if r.Queue.Arrived.Position == 0 {
			r.Queue.Arrived = have.Queue.Arrived
		}
		have.Queue = r.Queue
	}
}

// since is when the oldest of what was found came.
func (f *finder) since() (at time.Time, found bool) {
	for _, r := range f.found {
		if !found || r.At.Before(at) {
			at, found = r.At, true
		}
	}
	return at, found
}

// ask is what the leaders are to be asked: what was found and is not over, and the
// rest of what is asked for, under the names that it has in the queue.
func (f *finder) ask() scheduler.ReceiptQuery {
	ask := scheduler.ReceiptQuery{Chat: f.q.Chat, Limit: f.q.Limit}
	users := map[string]bool{}
	if f.q.User != "" {
		for _, kind := range []string{"", "user:", "key:", "ip:"} {
			users[kind+f.q.User] = true
		}
	}
	if f.q.ID != "" {
		ask.IDs = append(ask.IDs, f.q.ID)
	}
	for id, r := range f.found {
		if f.q.User != "" {
			users[r.User] = true
		}
		if r.CallID != "" && (r.Edge == nil || r.Edge.EndedAt.IsZero()) {
			ask.IDs = append(ask.IDs, id)
		}
	}
	ask.Users = slices.Sorted(maps.Keys(users))
	ask.All = f.q.ID == "" && f.q.User == "" && f.q.Chat == ""
	return ask
}

// sorted is what was found, the newest first.
func (f *finder) sorted() []scheduler.Receipt {
	out := make([]scheduler.Receipt, 0, len(f.found))
	for _, r := range f.found {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b scheduler.Receipt) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.CallID, b.CallID))
	})
	return out
}

// trim keeps the newest.
func (f *finder) trim() {
	if len(f.found) <= f.q.Limit {
		return
	}
	newest := f.sorted()[:f.q.Limit]
	clear(f.found)
	for _, r := range newest {
		f.found[key(&r)] = &r
	}
}
