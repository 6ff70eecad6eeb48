package quota

import (
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
	patience  = 2 * time.Second
	mostNames = 5000 // above that many, reading everything is the cheaper way
)

// refresh reads what may have changed.
func (b *Book) refresh(stays context.Context) {
	ctx, cancel := context.WithTimeout(stays, patience)
	defer cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	names := b.namesLocked()
	texts, err := b.readLocked(ctx, names)
	if err != nil {
		if !b.unread && stays.Err() == nil {
			b.unread = true
			b.cfg.Logger.WarnContext(ctx, "the quotas can't be read; the last ones hold until they can", slog.Any("error", err))
		}
		return
	}
	if b.unread {
		b.unread = false
		b.cfg.Logger.InfoContext(ctx, "the quotas can be read again")
	}
	b.takeLocked(ctx, texts)
}

func (b *Book) readLocked(ctx context.Context, names []string) (map[string]string, error) {
	if len(names) <= mostNames && time.Since(b.listed) < b.cfg.All {
		return b.cfg.Source.Read(ctx, names)
	}
	values, err := b.cfg.Source.List(ctx)
	if err != nil {
		return nil, err
	}
	b.listed = time.Now()
	texts := make(map[string]string, len(values))
	for name, v := range values {
		texts[name] = v.Text
	}
	return texts, nil
}

// namesLocked are those of the callers of the last minute, and what is known.
func (b *Book) namesLocked() []string {
	names := map[Name]bool{}
	for name := range *b.now.Load() {
		names[name] = true
	}
	b.callers.each(time.Now().Unix()-lately, func(id *identity.Identity) {
		for _, user := range users(id) {
			names[Name{Kind: User, ID: user}] = true
			for _, size := range sizes() {
				names[Name{Kind: User, ID: user, Size: size}] = true
			}
		}
		if id.KeyID != "" {
			names[Name{Kind: Key, ID: id.KeyID}] = true
		}
		for _, g := range id.Groups {
			names[Name{Kind: Group, ID: g}] = true
		}
		for _, r := range id.Roles {
			names[Name{Kind: Role, ID: r}] = true
		}
	})
	out := make([]string, 0, len(names))
	for name := range names {
		out = append(out, name.String())
	}
	return out
}

// users are the names by which an override finds a person.
func users(id *identity.Identity) []string {
	out := make([]string, 0, 3)
	for _, name := range []string{id.ID, id.Email, strings.TrimPrefix(id.UserKey, "user:")} {
		if name != "" && !slices.Contains(out, name) && (name != id.UserKey) {
			out = append(out, name)
		}
	}
	return out
}

// takeLocked makes what was read the overrides of now.
func (b *Book) takeLocked(ctx context.Context, texts map[string]string) {
	old := *b.now.Load()
	next := make(map[Name]*override, len(texts))
	for full, text := range texts {
		name, err := ParseName(full)
		if err != nil {
			continue // a key of somebody else
		}
		if was := old[name]; was != nil && was.text == text {
			next[name] = was
			continue
		}
		next[name] = b.read(ctx, name, text, old[name])
	}
	if maps.Equal(old, next) {
		return
	}
	for name, was := range old {
		if next[name] == nil {
			b.cfg.Logger.InfoContext(ctx, "a quota is gone", slog.String("quota", name.String()), slog.String("old", was.said))
		}
	}
	b.now.Store(&next)
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
