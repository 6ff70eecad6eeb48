package turn

// Learned is what a successor would have to learn anew.
type Learned struct {
	Output  Mean            `json:"output"`
	Classes map[string]Mean `json:"classes,omitempty"`
	Users   map[string]Mean `json:"users,omitempty"`
	Cached  []Share         `json:"cached,omitempty"`
	Gap     Mean            `json:"gap"`
	First   Mean            `json:"first"`
}

// Share is the cached part of the prompts of a user in a prefix group.
type Share struct {
	User  string `json:"user"`
	Group uint64 `json:"group"`
	Share Mean   `json:"share"`
}

// Learned copies what was learned, at most so much of each kind.
func (d *Decider) Learned(most int) Learned {
	e := &d.estimates
	s := Learned{Output: e.pool, Classes: some(e.classes, most), Users: some(e.users, most), Gap: e.gap, First: e.first}
	for k, m := range e.cached {
		if len(s.Cached) >= most {
			break
		}
		s.Cached = append(s.Cached, Share{k.user, k.group, *m})
	}
	return s
}

func some(m map[string]*Mean, most int) map[string]Mean {
	out := make(map[string]Mean, min(len(m), most))
	for k, x := range m {
		if len(out) >= most {
			break
		}
		out[k] = *x
	}
	return out
}

// Recall begins where a predecessor was.
func (d *Decider) Recall(from *Learned) {
	s := &d.estimates
	s.pool, s.gap, s.first = from.Output.sane(), from.Gap.sane(), from.First.sane()
	for k, m := range from.Classes {
		*of(s.classes, k) = m.sane()
	}
	for k, m := range from.Users {
		*of(s.users, k) = m.sane()
	}
	for _, c := range from.Cached {
		share := c.Share.sane()
		share.Value = min(share.Value, 1)
		*of(s.cached, cacheKey{c.User, c.Group}) = share
	}
}
