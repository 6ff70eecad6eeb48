package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Cluster is one of three masters without replicas.
type Cluster struct{ Nodes []*Server }

const (
	masters  = 3
	allSlots = 16384
)

// StartCluster starts one with nothing in it, and waits until all of it agrees. Every
// node has the arguments.
func StartCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{}
	for range masters {
		more := append([]string{"--cluster-enabled", "yes", "--cluster-port", Port, "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "5000"}, args...)
		c.Nodes = append(c.Nodes, Start(t, more...))
	}
	all := make([]*redis.Client, 0, masters)
	for _, node := range c.Nodes {
		all = append(all, node.Client(t))
	}
	for i, db := range all {
		from, to := i*allSlots/masters, (i+1)*allSlots/masters-1
		do(t, db, "CLUSTER", "SET-CONFIG-EPOCH", i+1)
		do(t, db, "CLUSTER", "ADDSLOTSRANGE", from, to)
	}
	for _, other := range c.Nodes[1:] {
		host, port, _ := strings.Cut(other.Addr, ":")
		do(t, all[0], "CLUSTER", "MEET", host, port, other.Argument("--cluster-port"))
	}
	for i, db := range all {
		until(t, "node "+strconv.Itoa(i)+" knows the others and all slots", func(ctx context.Context) bool {
			info := db.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", masters)) &&
				strings.Contains(info, fmt.Sprintf("cluster_slots_ok:%d", allSlots))
		})
	}
	return c
}

// URL is what redis.url says.
func (c *Cluster) URL() string {
	urls := make([]string, 0, len(c.Nodes))
	for _, node := range c.Nodes {
		urls = append(urls, node.URL())
	}
	return strings.Join(urls, ",")
}

func do(t testing.TB, db *redis.Client, args ...any) {
	t.Helper()
	if err := db.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}
