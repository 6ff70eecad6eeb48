package dispatcher

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"fairlane/scheduler/fairqueue"
)

const (
	// invertedFor is how long an inversion lasts before it is told: users come and go.
	invertedFor = 30 * time.Second
	// invertedGap is what may lie between two looks at one that lasts.
	invertedGap = 3 * time.Second
	// invertedOver is how long it has to be away before it is told again.
	invertedOver = 5 * time.Minute
)

// inversion is a class of which a member is entitled to less than one of a lighter.
type inversion struct {
	fairqueue.Inversion
	since, last time.Time
	told        bool
}

// invert looks once a second whether the weights of the classes say what their
// members get, and tells it once for each pair that does not, until the pair was
// right for a while or the policy changes.
func (l *leader) invert(now time.Time) {
	if now.Sub(l.invertAt) < time.Second {
		return
	}
	l.invertAt = now
	for _, x := range l.turn.Queue.Inversions() {
		pair := [2]string{x.Heavy, x.Light}
		i := l.inversions[pair]
		if i == nil {
			i = &inversion{since: now}
			l.inversions[pair] = i
		} else if now.Sub(i.last) > invertedGap {
			i.since = now
		}
		i.Inversion, i.last = x, now
		if !i.told && now.Sub(i.since) >= invertedFor {
			i.told = true
			l.cfg.Logger.Warn("a member of a heavier class is entitled to less than a member of a lighter one: give the class more weight, or fewer people",
				slog.String("pool", l.cfg.Pool), slog.String("class", x.Heavy), slog.Int("members", x.HeavyMembers), slog.Float64("entitled_share", x.HeavyPart),
				slog.String("lighter_class", x.Light), slog.Int("lighter_members", x.LightMembers), slog.Float64("lighter_entitled_share", x.LightPart))
		}
	}
	for pair, i := range l.inversions {
		if now.Sub(i.last) > invertedOver || !i.told && now.Sub(i.last) > invertedGap {
			delete(l.inversions, pair)
		}
	}
}

// inverted are those that were told and were there lately, by name.
func (l *leader) inverted() (out []fairqueue.Inversion) {
	for _, i := range l.inversions {
		if i.told {
			out = append(out, i.Inversion)
		}
	}
	slices.SortFunc(out, func(a, b fairqueue.Inversion) int {
		return cmp.Or(cmp.Compare(a.Heavy, b.Heavy), cmp.Compare(a.Light, b.Light))
	})
	return out
}
