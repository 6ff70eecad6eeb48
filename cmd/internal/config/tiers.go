package config

import (
	"maps"
	"slices"
	"strings"
)

// floorBelow is what those below a tier are left where nothing is said of it: a
// strict precedence alone lets them wait for ever.
const floorBelow = 0.1

// mostFloor keeps the tier that goes first from being the one that waits.
const mostFloor = 0.9

// tiers reads the sets of classes that go first. A reload takes them.
func (c *Config) tiers(s *section) {
	items, _ := s.items("tiers")
	c.Tiers = make([]Tier, len(items))
	seen := map[string]bool{}
	for i, item := range items {
		t := &c.Tiers[i]
		t.FloorBelow = floorBelow
		takeList(item, "classes", &t.Classes, plainName())
		take(item, "floor_below", &t.FloorBelow, number(0, mostFloor))
		item.done()
		if len(t.Classes) == 0 {
			s.fault(item.path+".classes", "names no class")
		}
		for _, name := range t.Classes {
			switch _, known := c.Policy.Classes[name]; {
			case !known:
				s.fault(item.path+".classes", "there is no class %q; the classes are %s", name, strings.Join(slices.Sorted(maps.Keys(c.Policy.Classes)), ", "))
			case seen[name]:
				s.fault(item.path+".classes", "the class %q is in two tiers", name)
			}
			seen[name] = true
		}
		if t.FloorBelow == 0 && len(seen) < len(c.Policy.Classes) {
			s.warn(item.path+".floor_below", "0 leaves nothing to the classes below while "+strings.Join(t.Classes, ", ")+" has work: they may wait for ever")
		}
	}
	if most := 16; len(items) > most {
		s.fault("tiers", "has %d tiers, and %d are the most", len(items), most)
	}
}

// tierOf is the number of the class's tier, that of the last for those that none names.
func (c *Config) tierOf(class string) int {
	if i := slices.IndexFunc(c.Tiers, func(t Tier) bool { return slices.Contains(t.Classes, class) }); i >= 0 {
		return i
	}
	return len(c.Tiers)
}
