package quota

import (
	"context"
	"log/slog"
	"time"
)

const (
	pace        = 10 * time.Millisecond // between the steps of a walk, for whoever else asks the source
	mostStrange = 10_000                // names that are known to have been complained about
)

// walks are what is known of the walks before.
type walks struct {
	strange map[string]bool // names under which nobody is looked for
	failed  bool            // and that is said
}

// walk goes through all that is in the source. It finds what is set for whoever has
// not come yet, and what can't be read, before they come; that it fails is no harm.
func (b *Book) walk(of *walks) {
	strange := map[string]bool{}
	err := b.cfg.Source.Names(b.stays, func(names []string) error {
		if err := b.visit(names, of.strange, strange); err != nil {
			return err
		}
		return rest(b.stays, pace)
	})
	switch {
	case b.stays.Err() != nil:
	case err == nil:
		*of = walks{strange: strange}
	case !of.failed && !b.away.Load() && !b.cfg.Away():
		of.failed = true
		b.cfg.Logger.WarnContext(b.stays, "the quotas can't be listed; those of callers are read all the same", slog.Any("error", err))
	}
}

// visit takes over what lies under names, and says which names are none.
func (b *Book) visit(names []string, before, strange map[string]bool) error {
	good := make([]string, 0, len(names))
	for _, full := range names {
		_, err := sought(full)
		if err == nil {
			good = append(good, full)
			continue
		}
		if len(strange) < mostStrange && !strange[full] {
			strange[full] = true
			if !before[full] {
				b.invalid.Inc()
				b.cfg.Logger.WarnContext(b.stays, "a quota holds for nobody, for its name is wrong", slog.String("quota", full), slog.Any("error", err))
			}
		}
	}
	if len(good) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(b.stays, patience)
	defer cancel()
	found, err := b.cfg.Source.Read(ctx, good)
	b.learn(ctx, found)
	return err
}
