package limit

import (
	"maps"
	"sync"
	"time"
)

// shard is a part of the levels.
type shard struct {
	most int // that it keeps

	mu    sync.Mutex
	marks map[id]mark // of buckets that are not full
	peak  int         // of the map since it was made: maps do not shrink

	_ [32]byte // neighbours are locked by others
}

// putLocked keeps a level; a full bucket is not kept.
func (s *shard) putLocked(i id, to mark, now int64) {
	if to.at < now || to.at == now && to.part == 0 {
		delete(s.marks, i)
		return
	}
	if len(s.marks) >= s.most {
		if _, known := s.marks[i]; !known {
			s.evictLocked(now)
		}
	}
	s.marks[i] = to
	s.peak = max(s.peak, len(s.marks))
}

// looked is how many levels an eviction looks at. Go begins a map at random, so
// that they are a sample.
const looked = 16

// evictLocked makes room: it forgets what has become full, or else the one of a
// sample that is full soonest. Who has taken much is remembered the longest, so
// that a flood of new callers frees nobody.
func (s *shard) evictLocked(now int64) {
	var victim id
	soonest, n := int64(0), 0
	for i, m := range s.marks {
		if m.at < now {
			delete(s.marks, i)
			continue
		}
		if n == 0 || m.at < soonest {
			victim, soonest = i, m.at
		}
		if n++; n == looked {
			break
		}
	}
	if len(s.marks) >= s.most {
		delete(s.marks, victim)
	}
}

// sweep drops what has become full.
func (s *shard) sweep(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range s.marks {
		if m.at < now {
			delete(s.marks, i)
		}
	}
	const small = 1 << 10
	if s.peak <= small || len(s.marks) > s.peak/4 {
		return
	}
	marks := make(map[id]mark, len(s.marks))
	maps.Copy(marks, s.marks)
	s.marks, s.peak = marks, len(marks)
}

// Start begins to sweep. Only the first call does.
func (m *Memory) Start() {
	m.start.Do(func() {
		go func() {
			defer close(m.stopped)
			every := time.NewTicker(m.cfg.Sweep)
			defer every.Stop()
			for {
				select {
				case <-every.C:
					now := m.now()
					for i := range m.shards {
						m.shards[i].sweep(now)
					}
				case <-m.quit:
					return
				}
			}
		}()
	})
}

// Stop ends the sweeping and waits for it. It may be called more than once, and
// without Start, which then does nothing any more. Levels stay.
func (m *Memory) Stop() {
	m.stop.Do(func() { close(m.quit) })
	m.start.Do(func() { close(m.stopped) })
	<-m.stopped
}
