package quota

import (
	"slices"
	"strings"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
)

// scope is of buckets that no rule has.
const scope = "quota"

// Applied are the overrides that a decision has; empty: none.
type Applied struct {
	Requests, Size string // their names
}

// Apply puts the caller's overrides into a decision. Of somebody new it waits until
// they are read, but not for long.
func (b *Book) Apply(id *identity.Identity, d *policy.Decision) Applied {
	if id.Nobody {
		return Applied{}
	}
	b.await(b.meet(id))
	return b.apply(id, d)
}

func (b *Book) apply(id *identity.Identity, d *policy.Decision) Applied {
	all := *b.now.Load()
	if len(all) == 0 {
		return Applied{}
	}
	var applied Applied
	if o := pick(all, id); o != nil && replace(d, policy.Requests, id.UserKey, o) {
		applied.Requests = o.name.String()
	}
	if d.Size == "" {
		return applied
	}
	if o := pickUser(all, id, d.Size); o != nil && replace(d, policy.BySize, id.UserKey, o) {
		applied.Size = o.name.String()
	}
	return applied
}

// pick finds what counts for somebody's requests: user, key, group, role.
func pick(all map[Name]*override, id *identity.Identity) *override {
	if o := pickUser(all, id, ""); o != nil {
		return o
	}
	if o := good(all[Name{Kind: Key, ID: id.KeyID}]); o != nil {
		return o
	}
	if o := most(all, Group, id.Groups); o != nil {
		return o
	}
	return most(all, Role, id.Roles)
}

func pickUser(all map[Name]*override, id *identity.Identity, size string) *override {
	if o := good(all[person(id.ID, size)]); o != nil {
		return o
	}
	for _, user := range [...]string{id.Email, strings.TrimPrefix(id.UserKey, "user:")} { // lower case
		if o := good(all[Name{Kind: User, ID: user, Size: size}]); o != nil {
			return o
		}
	}
	return nil
}

// good is an override that has ever been readable.
func good(o *override) *override {
	if o == nil || len(o.limits) == 0 {
		return nil
	}
	return o
}

// most is the most generous override of several.
func most(all map[Name]*override, kind string, ids []string) *override {
	var best *override
	for _, id := range ids {
		if o := good(all[Name{Kind: kind, ID: id}]); o != nil && (best == nil || slower(best.limits, o.limits)) {
			best = o
		}
	}
	return best
}

// slower tells whether a lets less through than b, by the tightest limit of each.
func slower(a, b []limit.Limit) bool { return rate(a) < rate(b) }

// rate is the smallest N/period, per second.
func rate(limits []limit.Limit) float64 {
	least := -1.0
	for _, l := range limits {
		if r := float64(l.N) / (float64(l.Period) / float64(time.Second)); least < 0 || r < least {
			least = r
		}
	}
	return least
}

// replace gives a bucket of the decision other limits, or makes it one.
func replace(d *policy.Decision, kind policy.BucketKind, owner string, o *override) bool {
	i := slices.IndexFunc(d.Buckets, func(b policy.Bucket) bool { return b.Kind == kind })
	switch {
	case i < 0:
		d.Buckets = append(d.Buckets, policy.Bucket{Kind: kind, Scope: scope + " " + d.Aside() + " " + sizeOf(kind, d), Owner: owner, Limits: o.limits, Text: o.said})
	case d.Aside() == "":
		d.Buckets[i].Owner, d.Buckets[i].Limits, d.Buckets[i].Text = owner, o.limits, o.said
	case slower(o.limits, d.Buckets[i].Limits):
		limits := roomy(o.limits, d.Buckets[i].Limits)
		d.Buckets[i].Owner, d.Buckets[i].Limits, d.Buckets[i].Text = owner, limits, said(limits)
	default:
		return false
	}
	if i >= 0 {
		d.Buckets[i].Written, d.Buckets[i].Factor = nil, 0 // it follows no load
	}
	return true
}

// roomy is what is set with as much at once as is granted without it: what nobody waits
// for comes in bursts, as the pieces of a document, and one that is refused spoils all.
func roomy(set, granted []limit.Limit) []limit.Limit {
	var room int64
	for _, l := range granted {
		room = max(room, l.Room())
	}
	set = slices.Clone(set)
	for i := range set {
		more := set[i]
		if more.Burst = max(more.Room(), room); more.Validate() == nil {
			set[i] = more
		}
	}
	return set
}

func said(limits []limit.Limit) string {
	texts := make([]string, len(limits))
	for i, l := range limits {
		texts[i] = l.String()
	}
	return strings.Join(texts, "; ")
}

func sizeOf(kind policy.BucketKind, d *policy.Decision) string {
	if kind == policy.BySize {
		return d.Size
	}
	return ""
}
