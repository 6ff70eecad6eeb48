package fairqueue

import (
	"testing"

	"fairlane/deploy/habits/mutants"
)

func TestMutantsAreCaught(t *testing.T) {
	t.Parallel()
	mutants.Check(t,
		mutants.Of("no lift", "TestSiblingBound",
			mutants.In("level.go", "n.floor = l.lift(q)", "n.floor = min(n.v, l.lift(q))"),
			mutants.In("queue.go", "n.v, n.floor = key, l, l.vnow, l.vnow", "n.v, n.floor = key, l, 0, 0")),
		mutants.Of("no clamp at the floor", "TestScripts/floor", mutants.In("level.go", "if d < 0 {", "if false {")),
		mutants.Of("ties by id", "TestScripts/ties", mutants.In("heap.go", "e.act < o.act", "e.n.key < o.n.key")),
		mutants.Of("no fluid clock", "TestNewcomersDoNotFreezeTheClock", mutants.In("level.go", "max(l.fluid, l.net, l.vnow)", "l.vnow")),
		mutants.Of("the fluid clock without a bound", "TestScripts/lift", mutants.In("level.go", "min(l.begun, l.ready.e[0].v+q)", "l.begun")),
		mutants.Of("who comes back goes behind all others", "TestScripts/lift", mutants.In("level.go", "max(l.vnow, min(l.begun", "max(l.vnow, l.ready.e[0].v, min(l.begun")),
		mutants.Of("a reserve moves the clock at once", "TestScripts/lift", mutants.In("level.go", "l.begun = was", "l.begun = l.fluid")),
		mutants.Of("a clock that forgets refunds", "TestScripts/floor", mutants.In("level.go", "max(l.vnow, l.net)+span(c, l.active)", "max(l.fluid, l.net)+span(c, l.active)")),
		mutants.Of("max_running skipped in place", "TestRaisedLimitBringsNoCredit",
			mutants.In("flow.go", "return r.maxRunning <= 0 ||", "return running >= 0 ||"),
			mutants.In("dispatch.go", "r := n.first()\n", "r := n.first()\n\t\tif u := r.flow.user; r.maxRunning > 0 && u.running > 0 && u.running+r.sequences() > r.maxRunning {\n\t\t\tcontinue\n\t\t}\n")),
		mutants.Of("a bypass that raises vnow", "TestBypassLeavesTheClock", mutants.In("dispatch.go", "n.in.served()", "n.in.vnow = max(n.in.vnow, n.v)")),
		mutants.Of("a jump without a bound", "TestYieldIsBounded", mutants.In("dispatch.go", "if p.near && n.v >", "if p.near && n.v < 0 && n.v >")),
		mutants.Of("cached tokens ignored", "TestCost", mutants.In("cost.go", "cached = min(max(cached, 0), input)", "cached = 0")),
		mutants.Of("max_tokens reserved where the stream is seen", "TestCost", mutants.In("cost.go", "out /= 2", "out /= 1")),
		mutants.Of("what runs is counted per leaf", "TestScripts/maxrunning", mutants.In("queue.go", "if q.users[key] == nil {", "if true {")),
		mutants.Of("the user's last request says what it weighs", "TestScripts/bounds", mutants.In("flow.go", "f.reweigh(r.weight)", "_ = r")),
		mutants.Of("a refund at the present weight", "TestScripts/weights", mutants.In("dispatch.go", "span(x.charged, x.weights[i])", "span(x.charged, n.weight)")),
		mutants.Of("what returns is lifted", "TestScripts/requeue", mutants.In("queue.go", "case restored:", "case restored && may != may:")),
		mutants.Of("what returned keeps its privilege", "TestScripts/requeue", mutants.In("dispatch.go", "if n.kept {", "if false {")),
		mutants.Of("debts are forgotten", "TestScripts/forget", mutants.In("level.go", "l.resting.e[0].v <= l.fluid", "l.resting.e[0].n != nil")),
		mutants.Of("progress is not charged", "TestScripts/stream", mutants.In("settle.go", "if actual > r.flight.charged {", "if actual < 0 {")),
		mutants.Of("a tier without a floor", "TestNobodyBelowATierStarves", mutants.In("tier.go", "return t.owed > float64(t.unspent)", "return t.owed > 1e18")),
		mutants.Of("a floor that forgets what runs", "TestTierFloor", mutants.In("tier.go", "return t.owed > float64(t.unspent)", "return t.owed > 0")),
		mutants.Of("a floor of what is above alone", "TestTierFloor", mutants.In("tier.go", "t.owed -= (1 - t.floor) * float64(c)", "t.owed -= float64(c)")),
		mutants.Of("a gift is paid for", "TestTierKeepsNoCredit", mutants.In("tier.go", "case below && t.owes(), ", "case below, ")),
		mutants.Of("a tier's debt to nobody", "TestTierKeepsNoCredit", mutants.In("tier.go", "t.owed = min(t.owed, float64(t.unspent))", "t.owed = max(t.owed, float64(t.unspent))")),
		mutants.Of("who passes a tier is owed", "TestBlockedTurnMakesNoDebt", mutants.In("tier.go", "!below && !t.owes() && q.readyBelow(i)", "!below && q.readyBelow(i)")),
		mutants.Of("the newest last", "TestScripts/newest", mutants.In("flow.go", "return r.later(o)\n\tdefault", "return o.later(r)\n\tdefault")),
		mutants.Of("no rebase", "TestRebase", mutants.In("level.go", "if l.vnow >= rebaseAt {", "if l.vnow < 0 {")),
	)
}
