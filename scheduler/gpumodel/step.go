package gpumodel

import "time"

// Step does one step. What it reports holds Took after its beginning; Add and
// Abort in between take effect at the next one, as they do in vLLM.
func (e *Engine) Step() Step {
	e.events = e.events[:0]
	if e.dead {
		return Step{Dead: true}
	}
	budget, preempted := e.continueRunning(e.cfg.Profile.PrefillBudget)
	if e.dead {
		return Step{Dead: true}
	}
	if !preempted {
		e.admit(budget)
	}
	if e.dead {
		return Step{Dead: true}
	}
	if len(e.running) == 0 {
		return Step{Events: e.events}
	}
	e.stats.Steps++
	st := e.price()
	e.settle()
	st.Events = e.events
	return st
}

// continueRunning gives every running sequence its part of the step. It returns
// the budget that is left, and whether a sequence had to be preempted.
func (e *Engine) continueRunning(budget int) (left int, preempted bool) {
	i := 0
	for i < len(e.running) {
		s := e.running[i]
		s.chunk = min(s.length()-s.computed, budget)
		if e.outOfMemory(s) {
			return 0, false
		}
		for !e.kv.reserve(s, s.computed+s.chunk) {
			v := e.victim()
			budget += e.preempt(v, &i)
			preempted = true
			if v == s {
				break
			}
		}
		budget -= s.chunk
		i++
	}
	return budget, preempted
}

// victim is the sequence that is preempted next: the last in order.
func (e *Engine) victim() *seq {
	if e.cfg.Scheduling == FCFS {
		return e.running[len(e.running)-1]
	}
	v := e.running[0]
	for _, s := range e.running[1:] {
		if v.before(s) {
			v = s
		}
	}
	return v
}

// preempt takes everything from v and puts it back into the queue. at is the
// position of the loop over the running ones; what v had of the budget comes back
// if it had its turn.
func (e *Engine) preempt(v *seq, at *int) int {
	refund := 0
	i := e.removeRunning(v)
	if i < *at {
		refund = v.chunk
	}
	if i <= *at {
		*at--
	}
	e.kv.release(v)
	v.computed, v.chunk = 0, 0
	e.waiting.push(v)
	e.blocked = false
	e.stats.Preemptions++
	e.events = append(e.events, Event{ID: v.ID, Kind: Preempted, Generated: v.generated})
	return refund
}

// admit starts sequences from the queue while there are places, budget and KV.
func (e *Engine) admit(budget int) {
	e.blocked = false
	for len(e.waiting.heap) > 0 && len(e.running) < e.cfg.Profile.MaxNumSeqs && budget > 0 {
		s := e.waiting.heap[0]
		idle := e.kv.idle
		cached := e.kv.match(s)
		e.wanted = idle - e.kv.idle
		s.chunk = min(s.length()-cached, budget)
		if e.outOfMemory(s) {
			return
		}
		if !e.kv.reserve(s, cached+s.chunk) {
			e.kv.release(s)
			e.blocked = true
			return
		}
		e.waiting.remove(s)
		e.running = append(e.running, s)
		s.computed = cached
		budget -= s.chunk
		e.countStart(s)
		e.events = append(e.events, Event{ID: s.ID, Kind: Scheduled, Generated: s.generated, Cached: cached})
	}
}

func (e *Engine) countStart(s *seq) {
	if !s.fresh {
		return
	}
	s.fresh = false
	e.stats.PromptTokens += s.Prompt
	e.stats.PrefixQueryTokens += s.Prompt
	e.stats.PrefixHitTokens += s.computed
}

// outOfMemory kills the engine if s is longer than its memory can hold.
func (e *Engine) outOfMemory(s *seq) bool {
	if e.cfg.OOMTokens > 0 && s.length() > e.cfg.OOMTokens {
		e.dead = true
	}
	return e.dead
}

// price is the step's length by the formula of the package.
func (e *Engine) price() Step {
	var st Step
	context, pairs := 0, 0
	for _, s := range e.running {
		if s.decoding() && s.chunk > 0 {
			st.Decode++
			context += s.length()
		} else {
			st.Prefill += s.chunk
			pairs += s.chunk*s.computed + s.chunk*(s.chunk+1)/2
		}
	}
	p := &e.cfg.Profile
	st.Took = p.Base + time.Duration(st.Prefill)*p.PerPrefillToken + time.Duration(pairs)*p.PerPrefillPair +
		time.Duration(st.Decode)*p.PerSequence + time.Duration(context)*p.PerContextToken
	return st
}

// settle makes what was computed count, and lets go of what is finished.
func (e *Engine) settle() {
	kept := e.running[:0]
	for _, s := range e.running {
		s.computed += s.chunk
		if e.kv.publish(s) {
			e.blocked = false
		}
		if s.computed == s.length() && e.advance(s) {
			e.events = append(e.events, Event{ID: s.ID, Kind: Finished, Generated: s.generated})
			e.forget(s)
			continue
		}
		kept = append(kept, s)
	}
	clear(e.running[len(kept):])
	e.running = kept
}

// advance gives s a token and reports whether it was the last.
func (e *Engine) advance(s *seq) bool {
	if s.Output > 0 {
		s.generated++
		e.stats.GeneratedTokens++
		e.events = append(e.events, Event{ID: s.ID, Kind: Token, Generated: s.generated})
	}
	return s.generated >= s.Output
}
