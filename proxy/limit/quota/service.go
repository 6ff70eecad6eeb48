package quota

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"fairlane/proxy/identity"
	"fairlane/proxy/limit"
	"fairlane/proxy/policy"
)

// Journal keeps who changed what.
type Journal interface {
	Append(ctx context.Context, record []byte) error
	Last(ctx context.Context, n int) ([][]byte, error) // newest first
}

// Service is what administrators ask and change.
type Service struct {
	Book    *Book
	Journal Journal
	Decide  func(id *identity.Identity, q *policy.Query) *policy.Decision
	// Look says what is left in a decision's buckets, a level for each limit.
	Look   func(ctx context.Context, d *policy.Decision) [][]limit.Level
	Logger *slog.Logger
}

// Override is one that lies in the source.
type Override struct {
	Name   string    `json:"name"`
	Limits string    `json:"limits"`
	Until  time.Time `json:"until,omitzero"`
	Error  string    `json:"error,omitempty"` // why it is kept out
	Held   string    `json:"held,omitempty"`  // what holds instead
}

// Change is a record of the audit.
type Change struct {
	At    time.Time `json:"at"`
	Who   string    `json:"who"`  // the name of the token
	What  string    `json:"what"` // the override
	Old   string    `json:"old"`
	New   string    `json:"new"`
	Until time.Time `json:"until,omitzero"`
}

// List gives all overrides, by name.
func (s *Service) List(ctx context.Context) ([]Override, error) {
	source := s.Book.cfg.Source
	texts := map[string]string{}
	err := source.Names(ctx, func(names []string) error {
		found, err := source.Read(ctx, names)
		for name, f := range found {
			if f.Set {
				texts[name] = f.Text
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	ends, err := source.Ends(ctx, slices.Collect(maps.Keys(texts)))
	if err != nil {
		return nil, err
	}
	out := make([]Override, 0, len(texts))
	for full, text := range texts {
		name, err := sought(full)
		o := s.override(name, Value{text, ends[full]})
		if err != nil {
			o.Name, o.Error = strings.TrimPrefix(full, Prefix), err.Error()
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b Override) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// override tells of one that lies in the source.
func (s *Service) override(name Name, v Value) Override {
	o := Override{Name: strings.TrimPrefix(name.String(), Prefix), Limits: v.Text, Until: v.Until}
	if _, err := parse(v.Text); err != nil {
		o.Error = err.Error()
		if known := (*s.Book.now.Load())[name]; known != nil {
			o.Held = known.said
		}
	}
	return o
}

// Set writes an override, or deletes it if there are no limits. With a time it is
// a boost, which ends: it does not take the place of one without an end, which
// would not come back. This process knows it at once.
func (s *Service) Set(ctx context.Context, who, full, limits string, lasts time.Duration) error {
	name, err := ParseName(full)
	if err != nil {
		return err
	}
	if limits != "" {
		if _, err := parse(limits); err != nil {
			return fmt.Errorf("%w: %w", err, ErrInvalid)
		}
	}
	if lasts < 0 {
		return fmt.Errorf("a boost lasts a positive time: %w", ErrInvalid)
	}
	old, set, err := s.written(ctx, name)
	switch {
	case err != nil:
		return err
	case limits == "" && !set:
		return fmt.Errorf("%s: %w", strings.TrimPrefix(name.String(), Prefix), ErrNone)
	}
	v := Value{Text: limits}
	if lasts > 0 {
		v.Until = time.Now().Add(lasts)
		if old.Text != "" && old.Until.IsZero() {
			return fmt.Errorf("%s has %q without an end, which a boost would lose: set that anew, or delete it first: %w", name, old.Text, ErrInvalid)
		}
	}
	// First the audit: what can't be recorded is not done.
	if err := s.record(ctx, Change{At: time.Now().UTC(), Who: who, What: name.String(), Old: old.Text, New: limits, Until: v.Until}); err != nil {
		return err
	}
	if err := s.Book.cfg.Source.Write(ctx, name.String(), v); err != nil {
		return err
	}
	s.Book.learn(ctx, map[string]Found{name.String(): {limits, limits != ""}})
	return nil
}

// written is what lies in the source now.
func (s *Service) written(ctx context.Context, name Name) (v Value, set bool, err error) {
	names := []string{name.String()}
	found, err := s.Book.cfg.Source.Read(ctx, names)
	if err != nil {
		return Value{}, false, err
	}
	ends, err := s.Book.cfg.Source.Ends(ctx, names)
	f := found[names[0]]
	return Value{Text: f.Text, Until: ends[names[0]]}, f.Set, err
}

func (s *Service) record(ctx context.Context, c Change) error {
	s.Logger.InfoContext(ctx, "an administrator changes a quota", slog.String("who", c.Who), slog.String("quota", c.What), slog.String("old", c.Old), slog.String("new", c.New))
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return s.Journal.Append(ctx, b)
}

// Audit gives the newest changes, newest first.
func (s *Service) Audit(ctx context.Context, n int) ([]Change, error) {
	records, err := s.Journal.Last(ctx, n)
	if err != nil {
		return nil, err
	}
	out := make([]Change, 0, len(records))
	for _, b := range records {
		var c Change
		if err := json.Unmarshal(b, &c); err != nil {
			return nil, fmt.Errorf("a record of the audit can't be read: %w", err)
		}
		out = append(out, c)
	}
	return out, nil
}
