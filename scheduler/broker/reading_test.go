package broker

import (
	"testing"

	"pgregory.net/rapid"
)

// TestReading holds a reading against a plain list of what happened: entries are
// told out of order, read in order, and deleted at any time after they are known.
func TestReading(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 30
		r := newReading(1)
		var known, deleted [most + 1]bool
		at := uint64(0) // the last that was read
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			seq := uint64(rapid.IntRange(1, most).Draw(t, "seq"))
			switch what := rapid.SampledFrom([]string{"tell", "read", "delete"}).Draw(t, "what"); {
			case what == "tell" && (seq > at || known[seq]): // what was not told and is behind is not there
				if r.told(seq) == known[seq] {
					t.Fatalf("told %d, known %v", seq, known[seq])
				}
				known[seq] = true
			case what == "read" && seq > at:
				if r.read(seq) == known[seq] {
					t.Fatalf("read %d, known %v", seq, known[seq])
				}
				known[seq], at = true, seq
			case what == "delete" && known[seq]:
				r.drop(seq)
				deleted[seq] = true
			}
			first := r.first()
			for s := uint64(1); s < first && s <= most; s++ {
				if known[s] && !deleted[s] {
					t.Fatalf("first is %d, and %d is there", first, s)
				}
				if !known[s] && s > at {
					t.Fatalf("first is %d, and nobody knows of %d", first, s)
				}
			}
			if f := r.frontier(); f <= at {
				t.Fatalf("the frontier is %d, and %d was read", f, at)
			}
		}
	})
}
