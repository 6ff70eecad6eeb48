package quota

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
)

const (
	patience = 2 * time.Second // for one answer, if nobody waits
	several  = 5000            // names that are read and taken over at once
	// inARow is how many ticks fail before it is said: by then the limiter, which tries
	// as often, has said it, if the whole source is away and not only the quotas.
	inARow = 3
)

// ticks are what is known of the ticks before.
type ticks struct {
	failed int // in a row
	said   bool
}

// tick reads what may have changed for those who came lately, and what is known.
func (b *Book) tick(of *ticks) {
	wanted := b.wanted()
	b.mark(map[Name]bool{})
	defer b.mark(nil)
	names := make([]string, 0, len(wanted))
	for name := range wanted {
		names = append(names, name.String())
	}
	err := b.readAll(names)
	if b.stays.Err() != nil {
		return
	}
	b.away.Store(err != nil)
	if err == nil {
		b.asked.Store(&wanted)
	}
	b.tell(of, err)
}

// mark begins or ends to note what others than the tick read.
func (b *Book) mark(newer map[Name]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.newer = newer
}

// readAll reads names and takes over what it has read, part by part, until one of
// them gets no answer at all. Each tick begins elsewhere, as maps do.
func (b *Book) readAll(names []string) error {
	for failed := error(nil); ; {
		some := names[:min(several, len(names))]
		names = names[len(some):]
		ctx, cancel := context.WithTimeout(b.stays, patience)
		found, err := b.cfg.Source.Read(ctx, some)
		b.mu.Lock()
		b.takeLocked(ctx, found, b.newer)
		b.mu.Unlock()
		cancel()
		failed = cmp.Or(failed, err)
		if len(names) == 0 || err != nil && len(found) == 0 {
			return failed
		}
	}
}

// tell logs, once, that the source does not answer, and that it does again.
func (b *Book) tell(of *ticks, err error) {
	switch {
	case err == nil:
		if of.said {
			b.cfg.Logger.InfoContext(b.stays, "the quotas can be read again")
		}
		*of = ticks{}
	case of.said:
	default:
		if of.failed++; of.failed >= inARow && !b.cfg.Away() {
			of.said = true
			b.cfg.Logger.WarnContext(b.stays, "the quotas can't be read; the last ones hold until they can", slog.Any("error", err))
		}
	}
}

// wanted are the names of the callers of the last minute, and of what is known.
func (b *Book) wanted() map[Name]bool {
	names := map[Name]bool{}
	for name := range *b.now.Load() {
		names[name] = true
	}
	for _, id := range b.callers.since(time.Now().Unix() - lately) {
		for _, name := range namesOf(id) {
			names[name] = true
		}
	}
	return names
}

// unknown are the names of somebody that the ticks do not read yet.
func (b *Book) unknown(id *identity.Identity) []string {
	asked := *b.asked.Load()
	var out []string
	for _, name := range namesOf(id) {
		if !asked[name] {
			out = append(out, name.String())
		}
	}
	return out
}

// namesOf are the names by which an override finds somebody.
func namesOf(id *identity.Identity) []Name {
	out := make([]Name, 0, 16)
	for _, user := range users(id) {
		out = append(out, person(user, ""))
		for _, size := range sizes() {
			out = append(out, person(user, size))
		}
	}
	if id.KeyID != "" {
		out = append(out, Name{Kind: Key, ID: id.KeyID})
	}
	for _, g := range id.Groups {
		out = append(out, Name{Kind: Group, ID: g})
	}
	for _, r := range id.Roles {
		out = append(out, Name{Kind: Role, ID: r})
	}
	return out
}

// users are what a person is called by.
func users(id *identity.Identity) []string {
	out := make([]string, 0, 3)
	for _, name := range []string{id.ID, id.Email, strings.TrimPrefix(id.UserKey, "user:")} {
		if name != "" && !slices.Contains(out, name) && (name != id.UserKey) {
			out = append(out, name)
		}
	}
	return out
}

// learn takes over what somebody else than the tick has read.
func (b *Book) learn(ctx context.Context, found map[string]Found) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.takeLocked(ctx, found, nil)
	if b.newer == nil {
		return
	}
	for full := range found {
		if name, err := ParseName(full); err == nil {
			b.newer[name] = true
		}
	}
}

// takeLocked makes what was read the overrides of now, except some. What was not
// read stays.
func (b *Book) takeLocked(ctx context.Context, found map[string]Found, except map[Name]bool) {
	old := *b.now.Load()
	var next map[Name]*override // nil: nothing has changed
	change := func() map[Name]*override {
		if next == nil {
			next = maps.Clone(old)
		}
		return next
	}
	for full, f := range found {
		name, err := ParseName(full)
		if err != nil || except[name] {
			continue
		}
		was := old[name]
		switch {
		case !f.Set && was != nil:
			b.cfg.Logger.InfoContext(ctx, "a quota is gone", slog.String("quota", name.String()), slog.String("old", was.said))
			delete(change(), name)
		case f.Set && (was == nil || was.text != f.Text):
			change()[name] = b.read(ctx, name, f.Text, was)
		}
	}
	if next != nil {
		b.now.Store(&next)
	}
}

// read makes an override of a text. Of a bad one nothing is taken but that it is
// bad, so that it is said once.
func (b *Book) read(ctx context.Context, name Name, text string, was *override) *override {
	o := &override{name: name, text: text}
	if was != nil {
		o.limits, o.said = was.limits, was.said
	}
	limits, err := parse(text)
	if err != nil {
		o.bad = true
		b.invalid.Inc()
		b.cfg.Logger.WarnContext(ctx, "a quota can't be read; the last good one holds",
			slog.String("quota", name.String()), slog.String("held", o.said), slog.Any("error", err))
		return o
	}
	b.cfg.Logger.InfoContext(ctx, "a quota has changed", slog.String("quota", name.String()), slog.String("old", o.said), slog.String("new", text))
	o.limits, o.said = limits, text
	return o
}

// parse reads limits. Nothing at all is an error: it would let everything through.
func parse(text string) ([]limit.Limit, error) {
	limits, err := limit.Parse(text)
	if err == nil && len(limits) == 0 {
		_, err = limit.Parse(text + ";") // which says what is expected
	}
	return limits, err
}
