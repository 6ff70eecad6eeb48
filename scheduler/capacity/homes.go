package capacity

// mostHomes bounds how many conversations are remembered, twice over.
const mostHomes = 50_000

// homes remember which backend had a conversation last: its cache holds the
// history. There are two generations: what is asked for moves to the young one,
// and when that is full the old one is forgotten, so what goes is among the
// least recently used.
type homes struct {
	young, old map[string]string
}

// of is the URL of the backend that had a conversation last; empty: none is known.
func (h *homes) of(chat string) string {
	if url, ok := h.young[chat]; ok {
		return url
	}
	return h.old[chat]
}

// Home is the backend that had a conversation last, if it takes requests and there
// are others that do; nil: none.
func (p *Pool) Home(chat string) *Backend {
	if chat == "" || p.anywhere || len(p.backends) < 2 {
		return nil
	}
	if b := p.Backend(p.homes.of(chat)); b != nil && b.up && !b.draining {
		return b
	}
	return nil
}

func (h *homes) move(chat string, url string) {
	if h.young == nil || len(h.young) >= mostHomes && h.young[chat] == "" {
		h.old, h.young = h.young, map[string]string{}
	}
	h.young[chat] = url
}
