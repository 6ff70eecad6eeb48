package scheduler

import (
	"cmp"
	"fmt"
)

// Fence orders the attempts at one request. The lease's epoch is its upper
// part, so a grant of a leader that was replaced is always older than any of
// its successor's, and a wiped NATS (a younger bucket) does not freeze the
// workers.
type Fence struct {
	Bucket   uint32 `json:"b"` // creation of the lease's bucket, unix seconds
	Revision uint32 `json:"r"` // revision of the lease's Create
	Attempt  uint32 `json:"a"` // counted by the leader over all its grants
}

// Compare orders fences by age: negative if f is older than g.
func (f Fence) Compare(g Fence) int {
	return cmp.Or(cmp.Compare(f.Bucket, g.Bucket), cmp.Compare(f.Revision, g.Revision), cmp.Compare(f.Attempt, g.Attempt))
}

// Newer reports whether f was given out after g.
func (f Fence) Newer(g Fence) bool { return f.Compare(g) > 0 }

// String is the form that goes to the backend behind the request's id.
func (f Fence) String() string { return fmt.Sprintf("%x.%x.%x", f.Bucket, f.Revision, f.Attempt) }
