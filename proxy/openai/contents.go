package openai

// Contents is how many events with content there are in a piece of a stream that
// holds whole events, of whichever choice. Mostly each is a token.
func Contents(e Endpoint, piece []byte) int {
	n := 0
	for len(piece) > 0 {
		var line []byte
		line, piece = cutLine(piece)
		if data, ok := field(line, "data"); ok && HasContent(e, data) {
			n++
		}
	}
	return n
}
