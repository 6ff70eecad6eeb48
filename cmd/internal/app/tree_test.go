package app

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlane/cmd/internal/roster"
	"fairlane/scheduler/dispatcher"
)

// TestAReloadTakesTheTree: share, tiers, weights and what a class does with old
// requests reach the dispatchers' policy, at the start and after an edit.
func TestAReloadTakesTheTree(t *testing.T) {
	in := prepare(t, "tiers: [{classes: [vip]}]\nclasses: {vip: {codel: true}}\n")
	in.app.catalog, in.app.roster = newCatalog(in.app.fleet, in.app.cfg.Pools), roster.New(roster.Config{})
	policy := func() dispatcher.Policy {
		p, err := in.app.policyOf(in.app.cfg, in.app.cfg.Pools[0])
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := policy()
	if d := cmp.Diff([]dispatcher.Tier{{Classes: []string{"vip"}, Floor: 0.1}}, p.Tiers); d != "" || !slices.Equal(p.Share, []string{"class", "user"}) || !p.Classes["vip"].CoDel {
		t.Errorf("%+v (-want +got):\n%s", p, d)
	}
	in.write("share: [user]\ntiers: [{classes: [vip], floor_below: 0.2}, {classes: [standard]}]\nclasses: {vip: {weight: 9}}\n")
	in.app.reread()
	p = policy()
	want := []dispatcher.Tier{{Classes: []string{"vip"}, Floor: 0.2}, {Classes: []string{"standard"}, Floor: 0.1}}
	if d := cmp.Diff(want, p.Tiers); d != "" || !slices.Equal(p.Share, []string{"user"}) || p.Classes["vip"].CoDel || p.Classes["vip"].Weight != 9 {
		t.Errorf("%+v (-want +got):\n%s", p, d)
	}
	if lines := in.lines("the configuration was reloaded"); len(lines) != 1 || lines[0]["changed"] != "classes.vip.codel, classes.vip.weight, share, tiers, tiers[0].floor_below" {
		t.Errorf("%v\n%s", lines, in.log)
	}
	if in.lines("some changes take effect after a restart") != nil {
		t.Error(in.log)
	}
}
