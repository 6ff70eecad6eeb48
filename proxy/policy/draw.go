package policy

import (
	"fairlane/proxy/limit"
	"fairlane/scheduler"
)

// Need is what a request takes from buckets.
type Need struct {
	InputTokens  int // estimate
	OutputTokens int // of all sequences, that is reserved
	Longest      int // tokens of the longest request that the model takes; 0: not known
	Sequences    int // as so many requests it counts
}

// Drawing is what a request draws from which buckets.
type Drawing struct {
	Charges []limit.Charge
	From    []*Bucket // of each charge
}

// Draw makes a charge of each limit.
func Draw(buckets []Bucket, need Need) Drawing {
	n := 0
	for i := range buckets {
		n += len(buckets[i].Limits)
	}
	dr := Drawing{Charges: make([]limit.Charge, 0, n), From: make([]*Bucket, 0, n)}
	for i := range buckets {
		bucket := &buckets[i]
		for j := range bucket.Limits {
			l := need.widened(bucket, j)
			key := limit.Key{Scope: bucket.Scope, Owner: bucket.Owner, Period: l.Period}
			for _, before := range bucket.Limits[:j] {
				if before.Period == l.Period {
					key.Nth++
				}
			}
			dr.Charges = append(dr.Charges, limit.Charge{Key: key, Limit: l, Cost: need.of(bucket.Kind, l)})
			dr.From = append(dr.From, bucket)
		}
	}
	return dr
}

// widened is a limit of the bucket that holds what has to be let through at once. Of
// tokens that is the longest request of the model: else it could only be made to fit
// by being counted for less. Of requests it is what the limit as written lets through:
// else who comes while the pool is loaded would be told that it never can be.
func (n Need) widened(b *Bucket, i int) limit.Limit {
	l, least := b.Limits[i], int64(n.Longest)
	if b.Kind != Tokens {
		if least = n.of(b.Kind, l); b.Written == nil || least > b.Written.Set[i].Room() {
			return l
		}
	}
	wide := l
	if wide.Burst = least; least <= l.Room() || wide.Validate() != nil {
		return l
	}
	return wide
}

// of is what a request takes from a bucket. Tokens are an estimate, which must
// not refuse for ever; what is missing is settled at the end.
func (n Need) of(kind BucketKind, l limit.Limit) int64 {
	if kind == Tokens {
		return min(max(1, int64(n.InputTokens)+int64(n.OutputTokens)), l.Room())
	}
	return int64(max(1, n.Sequences))
}

// Reserved are the charges of tokens, which are settled at the end.
func (dr Drawing) Reserved() []limit.Charge {
	var out []limit.Charge
	for i, c := range dr.Charges {
		if dr.From[i].Kind == Tokens {
			out = append(out, c)
		}
	}
	return out
}

// Corrections are what is to be settled of what was reserved, which they overwrite,
// by what was used. Cached tokens are free.
func Corrections(reserved []limit.Charge, u *scheduler.Usage) []limit.Charge {
	used := int64(max(0, u.Input-u.Cached)) + int64(max(0, u.Output))
	corrections := reserved[:0]
	for _, c := range reserved {
		if c.Cost = used - c.Cost; c.Cost != 0 {
			corrections = append(corrections, c)
		}
	}
	return corrections
}

// Reason is why an empty bucket of this kind refuses.
func (k BucketKind) Reason() scheduler.Reason {
	switch k {
	case Tokens:
		return scheduler.ReasonTokens
	case BySize:
		return scheduler.ReasonSize
	default:
		return scheduler.ReasonRequests
	}
}
