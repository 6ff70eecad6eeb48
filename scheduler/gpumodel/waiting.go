package gpumodel

// waiting is the engine's queue: a heap by (priority, arrival). Under FCFS every
// priority is 0. A preempted sequence has arrived before all that never ran, so
// its old place is the head.
type waiting struct {
	heap   []*seq
	tokens int // of the prompts
}

func (w *waiting) push(s *seq) {
	s.place = len(w.heap)
	w.heap = append(w.heap, s)
	w.tokens += s.Prompt
	w.up(s.place)
}

func (w *waiting) remove(s *seq) {
	i, last := s.place, len(w.heap)-1
	w.swap(i, last)
	w.heap[last] = nil
	w.heap = w.heap[:last]
	if i < last {
		w.down(i)
		w.up(i)
	}
	w.tokens -= s.Prompt
	s.place = -1
}

func (w *waiting) swap(i, j int) {
	w.heap[i], w.heap[j] = w.heap[j], w.heap[i]
	w.heap[i].place, w.heap[j].place = i, j
}

func (w *waiting) up(i int) {
	for i > 0 {
		p := (i - 1) / 2
		if !w.heap[i].before(w.heap[p]) {
			return
		}
		w.swap(i, p)
		i = p
	}
}

func (w *waiting) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(w.heap) {
			return
		}
		if c+1 < len(w.heap) && w.heap[c+1].before(w.heap[c]) {
			c++
		}
		if !w.heap[c].before(w.heap[i]) {
			return
		}
		w.swap(i, c)
		i = c
	}
}
