package quota

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/openai"
	"fairlane/proxy/policy"
)

// InForce is what somebody may do. Of a group or a role there is only Override.
type InForce struct {
	Who     string   `json:"who"`
	UserKey string   `json:"user_key"`
	Name    string   `json:"display_name,omitempty"`
	Roles   []string `json:"roles,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	// Known is false for somebody who has not come to this process lately: what
	// depends on roles and groups is not known then.
	Known   bool           `json:"known"`
	Buckets []BucketStatus `json:"buckets"`
	// Override is what each member of a group, or each who has a role, has in place of
	// what the rules say, unless something more personal is set; nil: there is none.
	Override *Override `json:"override,omitempty"`
}

// BucketStatus is what is left in one bucket.
type BucketStatus struct {
	Of     string        `json:"of"` // requests, tokens, or a size
	Limits string        `json:"limits"`
	From   string        `json:"from"` // the override or the rule
	Levels []LevelStatus `json:"levels"`
	// Written is what the rule says, where the load makes it Factor times that; empty:
	// the limits are as written.
	Written string  `json:"written,omitempty"`
	Factor  float64 `json:"factor,omitempty"`
}

// LevelStatus is what is left of one limit.
type LevelStatus struct {
	Limit        string  `json:"limit"`
	Most         int64   `json:"most"` // that the bucket holds
	Remaining    int64   `json:"remaining"`
	ResetSeconds float64 `json:"reset_seconds"` // until it is full
}

// Show says what is in force for somebody: user:<id>, key:<id>, or just an id or
// an email; and what is set for group:<name> and role:<name>.
func (s *Service) Show(ctx context.Context, who string) (InForce, error) {
	kind, id, ok := strings.Cut(strings.TrimPrefix(who, Prefix), ":")
	if !ok || !slices.Contains([]string{User, Key, Group, Role, "ip"}, kind) {
		kind, id = User, strings.TrimPrefix(who, Prefix)
	}
	switch {
	case id == "":
		return InForce{}, fmt.Errorf("name somebody: an id, an email, or key:<id>: %w", ErrInvalid)
	case kind == Group || kind == Role:
		return s.showAll(ctx, kind+":"+id)
	case kind == User:
		id = sized(id).ID
	}
	whom, known := s.Book.callers.find(kind, id)
	if !known {
		whom = stranger(kind, id)
	}
	if names := s.Book.unknown(whom); len(names) > 0 {
		s.Book.look(ctx, names) // what is set for somebody who has not come
	}
	out := InForce{Who: who, UserKey: whom.UserKey, Name: whom.Name, Roles: whom.Roles, Groups: whom.Groups, Known: known}
	seen := map[string]bool{}
	for _, q := range questions() {
		d := s.Decide(whom, &q)
		applied := s.Book.apply(whom, d)
		isNew := func(b policy.Bucket) bool { return !seen[kindOf(&b, d)] }
		if !slices.ContainsFunc(d.Buckets, isNew) {
			continue
		}
		levels := s.Look(ctx, d)
		for i := range d.Buckets {
			b := &d.Buckets[i]
			if of := kindOf(b, d); !seen[of] {
				seen[of] = true
				out.Buckets = append(out.Buckets, status(b, of, origin(b, d, applied), levels[i]))
			}
		}
	}
	return out, nil
}

// showAll says what is set for a group or a role.
func (s *Service) showAll(ctx context.Context, who string) (InForce, error) {
	name, err := ParseName(who)
	if err != nil {
		return InForce{}, err
	}
	v, set, err := s.written(ctx, name)
	out := InForce{Who: who, Known: true}
	if set {
		out.Override = new(s.override(name, v))
	}
	return out, err
}

// questions are chats of all sizes, small ones first: sizes are told apart by
// either of two numbers.
func questions() []policy.Query {
	q := policy.Query{Endpoint: openai.Chat, Sequences: 1, MaxTokens: 1}
	out := []policy.Query{q}
	for n := 2; n <= 1<<30; n *= 2 {
		long, wide := q, q
		long.InputChars, wide.MaxTokens = n, n
		out = append(out, long, wide)
	}
	return out
}

func kindOf(b *policy.Bucket, d *policy.Decision) string {
	switch b.Kind {
	case policy.Tokens:
		return "tokens"
	case policy.BySize:
		return d.Size
	default:
		return "requests"
	}
}

func origin(b *policy.Bucket, d *policy.Decision, applied Applied) string {
	key, name := "limits", applied.Requests
	switch b.Kind {
	case policy.Tokens:
		key, name = "tokens", ""
	case policy.BySize:
		key, name = "sizes", applied.Size
	default: // requests
	}
	if name != "" {
		return name
	}
	for _, w := range d.Why() {
		if w.Key == key {
			return w.From
		}
	}
	return ""
}

func status(b *policy.Bucket, of, from string, levels []limit.Level) BucketStatus {
	out := BucketStatus{Of: of, Limits: b.Text, From: from, Factor: b.Factor}
	if b.Written != nil {
		out.Written = b.Written.Text
	}
	for i, l := range levels {
		out.Levels = append(out.Levels, LevelStatus{Limit: b.Limits[i].String(), Most: l.Limit, Remaining: l.Remaining, ResetSeconds: l.Reset.Seconds()})
	}
	return out
}

// stranger is somebody of whom only the name is known.
func stranger(kind, id string) *identity.Identity {
	who := &identity.Identity{UserKey: kind + ":" + id, Name: id}
	switch {
	case kind == Key:
		who.KeyID, who.AuthType = id, identity.AuthAPIKey
	case kind != User:
		who.Anonymous, who.AuthType = true, identity.AuthAnonymous
	case strings.Contains(id, "@"):
		who.Email = strings.ToLower(id)
		who.UserKey = kind + ":" + who.Email
	default:
		who.ID = id
	}
	return who
}

// find looks for somebody among those who came lately.
func (c *callers) find(kind, id string) (*identity.Identity, bool) {
	for _, one := range c.since(0) {
		switch {
		case one.UserKey == kind+":"+id, kind == Key && one.KeyID == id, kind == User && (one.ID == id || one.Email != "" && strings.EqualFold(one.Email, id)):
			return one, true
		}
	}
	return nil, false
}
