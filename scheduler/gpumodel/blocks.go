package gpumodel

import "slices"

// cache is the KV cache: blocks that sequences own, and segments of prompt heads
// that they share. blocks = free + idle + what is in use.
type cache struct {
	blockSize int
	blocks    int
	free      int // blocks with nothing in them
	idle      int // blocks of segments that nobody uses

	byHash map[uint64]int32
	segs   []segment
	spare  []int32 // unused entries of segs
	// The idle segments, least recently used first, as a ring through entry 0.
}

// segment is a shared piece of a prompt between two marks.
type segment struct {
	hash       uint64
	blocks     int
	users      int
	prev, next int32 // among the idle ones
}

func newCache(tokens, blockSize int) cache {
	n := tokens / blockSize
	return cache{
		blockSize: blockSize, blocks: n, free: n,
		byHash: make(map[uint64]int32), segs: make([]segment, 1),
	}
}

// used is the number of blocks that somebody uses.
func (c *cache) used() int { return c.blocks - c.free - c.idle }

func (c *cache) blocksFor(tokens int) int { return (tokens + c.blockSize - 1) / c.blockSize }

// need is how many blocks s lacks to hold its first tokens.
func (c *cache) need(s *seq, tokens int) int {
	return max(0, c.blocksFor(tokens)-s.private-s.shared)
}

// reserve gives s the blocks for its first tokens, or reports that there are none.
func (c *cache) reserve(s *seq, tokens int) bool {
	n := c.need(s, tokens)
	if n > c.free+c.idle {
		return false
	}
	c.take(n)
	s.private += n
	return true
}

// take removes n blocks from the free ones, evicting what is idle.
func (c *cache) take(n int) {
	for n > c.free {
		i := c.segs[0].next
		c.unlink(i)
		delete(c.byHash, c.segs[i].hash)
		c.idle -= c.segs[i].blocks
		c.free += c.segs[i].blocks
		c.spare = append(c.spare, i)
	}
	c.free -= n
}

// whole is the number of blocks that a prompt's segment ending at mark k fills
// alone: a block that is not full is never shared.
func (c *cache) whole(marks []Mark, k int) int {
	n := marks[k].Tokens / c.blockSize
	if k > 0 {
		n -= marks[k-1].Tokens / c.blockSize
	}
	return n
}

// match lets s use what the cache holds of its prompt's head, and returns the
// number of tokens that need not be computed: whole blocks, and never all.
func (c *cache) match(s *seq) int {
	hit := 0
	for k, m := range s.Prefix {
		if c.whole(s.Prefix, k) > 0 {
			i, ok := c.byHash[m.Hash]
			if !ok {
				break
			}
			c.use(s, i)
		}
		hit = m.Tokens
		s.marked = k + 1
	}
	return min(hit, s.length()-1) / c.blockSize * c.blockSize
}

func (c *cache) use(s *seq, i int32) {
	g := &c.segs[i]
	if g.users == 0 {
		c.unlink(i)
		c.idle -= g.blocks
	}
	g.users++
	s.held = append(s.held, i)
	s.shared += g.blocks
}

// publish shares the segments of s that are computed by now, and reports whether
// there are any that the cache did not hold.
func (c *cache) publish(s *seq) (added bool) {
	for s.marked < len(s.Prefix) && s.Prefix[s.marked].Tokens <= s.computed {
		m, n := s.Prefix[s.marked], c.whole(s.Prefix, s.marked)
		s.marked++
		if _, twin := c.byHash[m.Hash]; twin || n == 0 {
			continue
		}
		i := c.newSegment(segment{hash: m.Hash, blocks: n, users: 1})
		c.byHash[m.Hash] = i
		s.held = append(s.held, i)
		s.private -= n
		s.shared += n
		added = true
	}
	return added
}

func (c *cache) newSegment(g segment) int32 {
	if n := len(c.spare); n > 0 {
		i := c.spare[n-1]
		c.spare = c.spare[:n-1]
		c.segs[i] = g
		return i
	}
	c.segs = append(c.segs, g)
	return int32(len(c.segs) - 1) //nolint:gosec // one segment has at least one block, and blocks are far below 2^31
}

// release takes everything from s. The end of a head becomes idle before its
// beginning, so that it is evicted first.
func (c *cache) release(s *seq) {
	c.free += s.private
	for _, i := range slices.Backward(s.held) {
		g := &c.segs[i]
		g.users--
		if g.users == 0 {
			c.linkLast(i)
			c.idle += g.blocks
		}
	}
	s.held = s.held[:0]
	s.private, s.shared, s.marked = 0, 0, 0
}

func (c *cache) linkLast(i int32) {
	last := c.segs[0].prev
	c.segs[i].prev, c.segs[i].next = last, 0
	c.segs[last].next = i
	c.segs[0].prev = i
}

func (c *cache) unlink(i int32) {
	g := &c.segs[i]
	c.segs[g.prev].next = g.next
	c.segs[g.next].prev = g.prev
}
