package quota

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// answers is what a cluster would answer to each key.
type answers map[string]error

func (a answers) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (a answers) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (a answers) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(_ context.Context, cmds []redis.Cmder) error {
		var first error
		for _, c := range cmds {
			key, _ := c.Args()[1].(string)
			err := a[key]
			if c.SetErr(err); err != nil && first == nil {
				first = err
			}
			if get, ok := c.(*redis.StringCmd); ok && err == nil {
				get.SetVal("2/minute")
			}
		}
		return first
	}
}

// TestANodeThatFailsTakesNothingAway: of a cluster a node that does not answer says
// nothing of its keys, whatever the others say first.
func TestANodeThatFailsTakesNothingAway(t *testing.T) {
	t.Parallel()
	db := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer db.Close()
	down := errors.New("CLUSTERDOWN Hash slot not served")
	db.AddHook(answers{
		"rate_limit:user:none": redis.Nil, "rate_limit:user:lost": down,
		"rate_limit:user:hash": errors.New("WRONGTYPE Operation against a key holding the wrong kind of value"),
	})
	b := newBook(t, Redis{DB: db}, nil)
	b.learn(t.Context(), map[string]Found{"rate_limit:user:lost": {"3/minute", true}, "rate_limit:user:none": {"4/minute", true}, "rate_limit:user:hash": {"5/minute", true}})
	names := []string{"rate_limit:user:none", "rate_limit:user:lost", "rate_limit:user:hash", "rate_limit:user:ann"}
	found, err := Redis{DB: db}.Read(t.Context(), names)
	if !errors.Is(err, down) {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(map[string]Found{names[0]: {}, names[2]: {noText, true}, names[3]: {"2/minute", true}}, found); diff != "" {
		t.Error(diff)
	}
	if err := b.readAll(names); !errors.Is(err, down) {
		t.Errorf("%v", err)
	}
	said := map[string]string{}
	for name, o := range *b.now.Load() {
		said[name.ID] = o.said
	}
	if diff := cmp.Diff(map[string]string{"lost": "3/minute", "hash": "5/minute", "ann": "2/minute"}, said); diff != "" {
		t.Error(diff)
	}
}
