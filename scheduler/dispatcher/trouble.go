package dispatcher

import "fairlane/scheduler/capacity"

// trouble is what a request went through that did not go well. Few have any, so it
// lies beside them.
type trouble struct {
	Attempts int               `json:"attempts,omitempty"` // that failed
	Last     string            `json:"last,omitempty"`     // backend of the last of them
	Deaths   int               `json:"deaths,omitempty"`   // of backends that had it in flight
	avoid    *capacity.Backend // that failed it last; nil: none did
}

// trouble finds or makes that of a request.
func (l *leader) trouble(it *item) *trouble {
	x := l.troubles[it.entry.ID]
	if x == nil {
		x = &trouble{}
		l.troubles[it.entry.ID] = x
	}
	return x
}

// failed counts an attempt at a request that is in flight.
func (l *leader) failed(it *item) *trouble {
	x := l.trouble(it)
	x.Attempts++
	x.Last = it.run.Backend.URL()
	return x
}

// past is what a request went through, nothing for most.
func (l *leader) past(it *item) trouble {
	if x := l.troubles[it.entry.ID]; x != nil {
		return *x
	}
	return trouble{}
}

// dropTroubles forgets those of requests that ended before we led.
func (l *leader) dropTroubles() {
	for id := range l.troubles {
		if _, away := l.elsewhere[id]; l.items[id] == nil && !away {
			delete(l.troubles, id)
		}
	}
}
