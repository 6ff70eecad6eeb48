package openai

import "slices"

// Edit is what changes in a body on its way to the backend.
type Edit struct {
	Model     string   // as the backend knows it, also where the client named none; empty: leave it
	Strip     []string // top-level fields that go
	AddUsage  bool     // ask for the stream's usage; see Request.AddsUsage
	CacheSalt string   // isolates the prefix cache; empty: none. Strip has to name cache_salt, too
}

// SchedulingFields are the fields by which a client could reach past the queue
// into the backend's scheduling, its cache or another request.
func SchedulingFields() []string {
	return []string{"priority", "cache_salt", "kv_transfer_params", "ec_transfer_params", "vllm_xargs", "request_id"}
}

// Rewrite is the body with the edits made and every other byte as it was. If
// there is nothing to do it is the body itself; if something is only added the
// body's memory is used where it has room, so the body must not be used after.
func (r *Request) Rewrite(e Edit) ([]byte, error) {
	if r.form != nil {
		return r.rewriteForm(e)
	}
	changes := r.changes(e)
	added := r.additions(e)
	if !slices.ContainsFunc(changes, func(c change) bool { return c.touched }) {
		return r.append(added), nil
	}
	return r.rebuild(changes, added), nil
}

// change is what becomes of a member.
type change struct {
	touched bool
	drop    bool
	value   []byte
}

func (r *Request) changes(e Edit) []change {
	out := make([]change, len(r.members))
	for i, m := range r.members {
		switch {
		case slices.ContainsFunc(e.Strip, func(name string) bool { return m.is(r.body, name) }):
			out[i] = change{touched: true, drop: true}
		case e.Model != "" && e.Model != r.Model && m.is(r.body, "model"):
			out[i] = change{touched: true, value: appendQuoted(nil, e.Model)}
		case e.AddUsage && m.is(r.body, "stream_options"):
			out[i] = change{touched: true, value: withUsage(r.body[m.valueStart:m.valueEnd])}
		}
	}
	return out
}

// withUsage is the stream_options with usage asked for, once: without it being
// asked for, continuous_usage_stats had no effect, and shall have none now.
func withUsage(options []byte) []byte {
	const ask = `"include_usage":true`
	if len(options) == 0 || options[0] != '{' {
		return []byte("{" + ask + "}")
	}
	rest := appendWithout(nil, options, "include_usage")
	rest = appendWithout(nil, rest, "continuous_usage_stats")
	if _, some := nextMember(rest, 0); !some {
		return []byte("{" + ask + "}")
	}
	return slices.Concat([]byte("{"+ask+","), rest[1:])
}

// additions are the members that are added, each with a comma before it.
func (r *Request) additions(e Edit) []byte {
	var out []byte
	has := func(name string) bool {
		return slices.ContainsFunc(r.members, func(m member) bool { return m.is(r.body, name) })
	}
	if e.AddUsage && !has("stream_options") {
		out = append(out, `,"stream_options":{"include_usage":true}`...)
	}
	if e.CacheSalt != "" {
		out = appendQuoted(append(out, `,"cache_salt":`...), e.CacheSalt)
	}
	if e.Model != "" && !has("model") {
		out = appendQuoted(append(out, `,"model":`...), e.Model)
	}
	return out
}

// append puts members behind the last one.
func (r *Request) append(added []byte) []byte {
	if len(added) == 0 {
		return r.body
	}
	if len(r.members) == 0 {
		added = added[1:]
	}
	return append(append(r.body[:r.end], added...), '}')
}

func (r *Request) rebuild(changes []change, added []byte) []byte {
	size := len(r.body) + len(added)
	for _, c := range changes {
		size += len(c.value)
	}
	out := append(make([]byte, 0, size), '{')
	for i, m := range r.members {
		if changes[i].drop {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		if c := changes[i]; c.touched {
			out = append(append(out, r.body[m.nameStart:m.valueStart]...), c.value...)
			continue
		}
		out = append(out, r.body[m.nameStart:m.valueEnd]...)
	}
	if len(out) == 1 && len(added) > 0 {
		added = added[1:]
	}
	return append(append(out, added...), '}')
}
