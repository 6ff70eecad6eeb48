package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
)

// queue lets a request in, hands it to the queue and follows it to its end.
func (x *exchange) queue() *scheduler.Problem {
	if !x.s.flight.enter() {
		return x.turnedAway()
	}
	defer x.s.flight.leave()
	if p := x.readPatience(); p != nil {
		return p
	}
	if p := x.read(); p != nil {
		return p
	}
	if p := x.admit(); p != nil {
		return p
	}
	sub, p := x.submission()
	if p != nil {
		return p
	}
	call, err := x.s.deps.Queue.Submit(x.r.Context(), sub)
	if err != nil {
		return asProblem(err)
	}
	x.rec.callID = sub.Entry.ID
	x.began(sub.Entry.ID)
	defer call.Cancel()
	return x.follow(call)
}

// turnedAway ends the request of somebody who comes while the server drains.
func (x *exchange) turnedAway() *scheduler.Problem {
	x.header().Set("Connection", "close")
	return shuttingDown()
}

// read reads the body, looks at it, and finds the model's place.
func (x *exchange) read() *scheduler.Problem {
	body, p := x.readBody()
	if p != nil {
		return p
	}
	req, err := openai.Scan(x.route.Endpoint, x.r.Header.Get("Content-Type"), body)
	if err != nil {
		return scanProblem(err)
	}
	x.req = req
	x.rec.sequences = req.Sequences
	at, p := x.s.deps.Catalog().find(req.Model)
	if p != nil {
		return p
	}
	x.at, x.rec.pool = at, at.pool
	if _, known := x.s.deps.Catalog().where[at.model]; known { // else a client could make labels
		x.rec.model = at.model
	}
	return nil
}

// admit asks policy and takes from the caller's buckets.
func (x *exchange) admit() *scheduler.Problem {
	q := policy.Query{
		Endpoint: x.route.Endpoint, Pool: x.at.pool, Model: x.at.model,
		InputChars: x.s.estimates.chars(x.at.model, x.req), MaxTokens: x.req.MaxTokens, Sequences: x.req.Sequences,
		TaskPrompt: x.req.TaskPrompt, Priority: x.req.Priority,
	}
	if x.req.Model != x.at.model {
		q.Alias = x.req.Model
	}
	expect := x.s.outputs.Of(x.id.UserKey).AtLeast(x.req.MinTokens)
	q.ExpectedTokens = int(expect.Mean)
	need := Need{
		InputTokens: x.s.estimates.input(x.at.model, x.req), MaxTokens: expect.Reserve(x.req.Endpoint, x.req.MaxTokens, x.req.Sequences), Longest: x.at.longest, Sequences: x.req.Sequences,
	}
	return x.take(&q, need)
}

// take takes what the request needs, if policy gives it.
func (x *exchange) take(q *policy.Query, need Need) *scheduler.Problem {
	d, p := x.s.deps.Decider.Decide(x.id, q)
	if d != nil {
		x.decision = d
		x.rec.class, x.rec.size = d.Class, d.Size
		x.header().Set("X-Fairlane-Class", d.Class)
	}
	if p != nil {
		return p
	}
	if x.s.deps.Limiter == nil {
		return nil
	}
	need.Chinese = x.s.chinese()
	allow, p := x.s.deps.Limiter.Take(x.r.Context(), d, need)
	limitHeaders(x.header(), allow)
	if p == nil {
		x.settle, x.rec.reserved = allow.Settle, need.MaxTokens
	}
	return p
}

// submission is the request as the queue gets it.
func (x *exchange) submission() (*scheduler.Submission, *scheduler.Problem) {
	d, added := x.decision, x.req.AddsUsage()
	edit := openai.Edit{Strip: stripped(d.AllowFields), AddUsage: added}
	if x.req.Model != "" || x.route.Endpoint.RequiresModel() {
		edit.Model = x.at.model
	}
	if d.OwnCache && !x.route.Endpoint.Audio() {
		edit.CacheSalt = x.s.cacheSalt(x.id.UserKey)
		edit.Strip = append(edit.Strip, "cache_salt")
	}
	entry := x.entry()
	body, err := x.req.Rewrite(edit)
	if err != nil {
		return nil, scanProblem(err)
	}
	if x.s.deps.Receipts != nil {
		x.opened = x.receipt()
	}
	header := toBackend(x.r.Header)
	x.tell(&entry)
	x.req.Forget() // and the rest of what is not needed while it waits
	x.decision, x.id, x.r.Header = nil, nil, nil
	return &scheduler.Submission{Entry: entry, Header: header, Body: body, AddedUsage: added, ShowsPlace: x.teller != nil}, nil
}

func (x *exchange) entry() scheduler.Entry {
	d, accepted := x.decision, x.rec.started.Round(time.Microsecond)
	e := scheduler.Entry{
		Pool: x.at.pool, Model: x.at.model, Endpoint: string(x.route.Endpoint), Path: x.r.URL.Path, Stream: x.req.Stream,
		Class: d.Class, User: x.id.UserKey, UserWeight: d.UserWeight, MaxRunning: d.MaxRunning, MaxQueued: d.MaxQueued, Priority: d.Priority,
		AcceptedAt: accepted, Deadline: accepted.Add(x.maxWait()),
		Sequences: x.req.Sequences, InputTokens: x.s.estimates.input(x.at.model, x.req), MaxTokens: x.req.MaxTokens,
		PrefixGroup: x.req.PrefixHash, Chat: x.chat(),
	}
	if len(x.id.Groups) > 0 {
		e.Group = x.id.Groups[0]
	}
	return e
}

// chat names the conversation: by its id where somebody tells it, else by how it
// began. A hash can't be taken for an id, which has no such mark.
func (x *exchange) chat() string {
	if x.id.ChatID != "" || x.req.HeadHash == 0 {
		return x.id.ChatID
	}
	return "head:" + strconv.FormatUint(x.req.HeadHash, 36)
}

// stripped are the scheduling fields that the caller may not set.
func stripped(allowed []string) []string {
	return slices.DeleteFunc(openai.SchedulingFields(), func(name string) bool {
		// order among one's own requests is ours to keep, not the backend's
		return name != "priority" && slices.Contains(allowed, name)
	})
}

// cacheSalt parts a user's prefix cache from all others without naming the user.
// It is keyed, for who could compute another's salt could look for their prompts by
// the time that an answer takes.
func (s *Server) cacheSalt(userKey string) string {
	mac := hmac.New(sha256.New, s.deps.CacheKey)
	mac.Write([]byte("fairlane cache salt\x00" + userKey))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
