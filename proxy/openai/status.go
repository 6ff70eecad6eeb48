package openai

// StatusEvent is a status for Open WebUI, which hands what a chunk says under event
// to the page: a line above the answer. Done: it is over, and hidden with all before.
// Others who read the stream would get a chunk without choices.
func StatusEvent(description string, done bool) []byte {
	b := append([]byte(nil), `data: {"object":"chat.completion.chunk","choices":[],"event":{"type":"status","data":{"description":`...)
	b = appendQuoted(b, description)
	if done {
		b = append(b, `,"done":true,"hidden":true`...)
	} else {
		b = append(b, `,"done":false`...)
	}
	return append(b, "}}}\n\n"...)
}
