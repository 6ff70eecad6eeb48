package turn

import (
	"testing"

	"fairlane/deploy/habits/mutants"
)

func TestMutantsAreCaught(t *testing.T) {
	t.Parallel()
	mutants.Check(t,
		mutants.Of("no half of the class's mean", "TestWhatIsExpectedOfAnAnswer", mutants.In("estimate.go", "max(m.Value, expected/2)", "m.Value")),
		mutants.Of("max_tokens raises what is expected", "TestWhatIsExpectedOfAnAnswer", mutants.In("estimate.go", "expected = min(expected, float64(e.MaxTokens))", "expected = float64(e.MaxTokens)")),
		mutants.Of("nothing is in the cache", "TestWhatIsExpectedInTheCache", mutants.In("estimate.go", "in.Cached = min(int(m.Value*float64(e.InputTokens)), e.InputTokens)", "_ = m")),
		mutants.Of("all have the same in the cache", "TestWhatIsExpectedInTheCache",
			mutants.In("estimate.go", "s.cached[cacheKey{e.User, e.PrefixGroup}]", "s.cached[cacheKey{group: e.PrefixGroup}]"),
			mutants.In("estimate.go", "of(d.estimates.cached, cacheKey{e.User, e.PrefixGroup})", "of(d.estimates.cached, cacheKey{group: e.PrefixGroup})")),
		mutants.Of("what breaks off teaches nothing", "TestWhoAlwaysLeavesMidAnswer", mutants.In("run.go", "d.learnBroken(o.Entry(), u)", "_ = o")),
		mutants.Of("what breaks off lowers what is expected", "TestWhatBreaksOffRaisesWhatIsExpected", mutants.In("estimate.go", "if seen > otherwise {", "if seen > 0 {")),
		mutants.Of("a hang-up settles 0", "TestWhoHangsUpBeforeTheFirstBytePays", mutants.In("run.go", "return scheduler.Usage{Input: run.Input.Tokens, Cached: run.Input.Cached, Output: run.Generated}", "return scheduler.Usage{}")),
		mutants.Of("hopeless is nobody", "TestHopeless", mutants.In("drain.go", "hopelessAt * float64(left)", "5 * float64(left)")),
		mutants.Of("half a minute says nothing", "TestHopeless", mutants.In("drain.go", "!known || !d.Sure() || all <= bound", "!known || all <= bound")),
	)
}
