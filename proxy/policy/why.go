package policy

import (
	"strconv"
	"strings"
)

// Why says where one key of a decision comes from.
type Why struct {
	Key   string // as the configuration has it
	Value string
	From  string // `policy[3] group=vip`, `built-in rule`, or another key of the configuration
}

// Why explains the decision, key by key, for check-config and receipts.
func (d *Decision) Why() []Why {
	out := make([]Why, 0, numKeys)
	for k := range numKeys {
		out = append(out, Why{Key: k.name(), Value: d.value(k), From: d.origin(k)})
	}
	return out
}

// Origins says where the class, the weight among its users and max_running come
// from, as Why does; empty for a decision that no policy made.
func (d *Decision) Origins() (class, weight, maxRunning string) {
	if d.policy == nil {
		return "", "", ""
	}
	return d.origin(keyClass), d.origin(keyWeight), d.origin(keyMaxRunning)
}

func (k key) name() string {
	return [numKeys]string{
		"class", "weight", "limits", "tokens", "sizes", "max_running", "max_queued", "max_sequences", "max_wait",
		"may_set_priority", "allow_fields", "prefix_cache",
	}[k]
}

func (d *Decision) value(k key) string {
	switch k {
	case keyClass:
		return d.Class
	case keyWeight:
		return strconv.FormatFloat(d.UserWeight, 'g', -1, 64)
	case keyLimits:
		return d.limitsOf(Requests)
	case keyTokens:
		return d.limitsOf(Tokens)
	case keySizes:
		return strings.TrimSpace(d.Size + " " + d.limitsOf(BySize))
	case keyMaxRunning:
		return strconv.Itoa(d.MaxRunning)
	case keyMaxQueued:
		return strconv.Itoa(d.MaxQueued)
	case keyMaxSequences:
		return strconv.Itoa(d.MaxSequences)
	case keyMaxWait:
		return d.MaxWait.String()
	case keyMaySetPriority:
		return strconv.FormatBool(d.MaySetPriority)
	case keyAllowFields:
		return strings.Join(d.AllowFields, ", ")
	default:
		if d.OwnCache {
			return CacheOwn
		}
		return CacheShared
	}
}

func (d *Decision) limitsOf(kind BucketKind) string {
	for i := range d.Buckets {
		if d.Buckets[i].Kind == kind {
			return d.Buckets[i].Text
		}
	}
	return ""
}

func (d *Decision) origin(k key) string {
	r := d.policy.by(d, k)
	switch {
	case k == keyMaxWait && r.maxWait == 0:
		return "classes." + d.Class
	case k == keyMaxSequences && d.MaxSequences < r.maxSequences:
		return "slots of the pool"
	case d.nobody && (k == keyLimits || k == keyTokens || k == keySizes || k == keyMaxRunning || k == keyMaxQueued):
		return "nobody: bounded by class and pool only"
	case !r.builtIn:
		return r.from
	case k == keyClass:
		return "default_class"
	case k == keySizes:
		return "sizes"
	case k == keyMaxQueued:
		return "queue.max_queued_per_user"
	default:
		return "built-in rule"
	}
}
