package quota

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// pages is a Redis of several pages, one at each cursor, of which some fail at first.
type pages struct {
	names map[uint64][]string
	next  map[uint64]uint64
	fails map[uint64]int
	asked []uint64
}

func (p *pages) DialHook(next redis.DialHook) redis.DialHook { return next }

func (p *pages) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		at, _ := cmd.Args()[1].(uint64)
		p.asked = append(p.asked, at)
		if p.fails[at]--; p.fails[at] >= 0 {
			cmd.SetErr(errors.New("i/o timeout"))
			return cmd.Err()
		}
		if scan, ok := cmd.(*redis.ScanCmd); ok {
			scan.SetVal(p.names[at], p.next[at])
		}
		return nil
	}
}

func (p *pages) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestAWalkGoesOnWhereItWas: a large Redis that is sometimes slow is walked through all
// the same, and one that is away is not waited for.
func TestAWalkGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fails map[uint64]int
		asked []uint64
		found []string
		fine  bool
	}{
		"all is well":     {nil, []uint64{0, 7, 9}, []string{"a", "b", "c"}, true},
		"slow in between": {map[uint64]int{7: 2, 9: 4}, []uint64{0, 7, 7, 7, 9, 9, 9, 9, 9}, []string{"a", "b", "c"}, true},
		"gone in between": {map[uint64]int{7: 100}, []uint64{0, 7, 7, 7, 7, 7}, []string{"a"}, false},
		"away":            {map[uint64]int{0: 100}, []uint64{0}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &pages{names: map[uint64][]string{0: {"a"}, 7: {"b"}, 9: {"c"}}, next: map[uint64]uint64{0: 7, 7: 9, 9: 0}, fails: tt.fails}
				if p.fails == nil {
					p.fails = map[uint64]int{}
				}
				db := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
				defer db.Close()
				db.AddHook(p)
				var found []string
				err := Redis{DB: db}.Names(t.Context(), func(names []string) error {
					found = append(found, names...)
					return nil
				})
				if (err == nil) != tt.fine || !cmp.Equal(tt.found, found) || !cmp.Equal(tt.asked, p.asked) {
					t.Errorf("asked at %v, found %v, %v", p.asked, found, err)
				}
			})
		})
	}
}
