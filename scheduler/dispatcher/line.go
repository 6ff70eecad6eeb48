package dispatcher

// line is a list of items, linked through what each of them has for it.
type line struct{ front, back *item }

// link is an item's place in one line.
type link struct{ before, behind *item }

// placing says which link of an item a line uses.
type placing func(*item) *link

func inClass(it *item) *link { return &it.inClass }

func inUser(it *item) *link { return &it.inUser }

// insert puts an item behind another; nil: in front of all.
func (n *line) insert(at placing, it, before *item) {
	p := at(it)
	p.before = before
	if before != nil {
		p.behind, at(before).behind = at(before).behind, it
	} else {
		p.behind, n.front = n.front, it
	}
	if p.behind != nil {
		at(p.behind).before = it
	} else {
		n.back = it
	}
}

// remove takes an item out.
func (n *line) remove(at placing, it *item) {
	p := at(it)
	if p.before != nil {
		at(p.before).behind = p.behind
	} else {
		n.front = p.behind
	}
	if p.behind != nil {
		at(p.behind).before = p.before
	} else {
		n.back = p.before
	}
	*p = link{}
}
