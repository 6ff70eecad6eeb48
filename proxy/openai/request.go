package openai

import (
	"bytes"
	"mime"
	"strings"
)

// Request is what a scheduler and a policy need to know of a body. Counts are
// of all prompts together.
type Request struct {
	Endpoint     Endpoint
	Model        string // as the client wrote it; empty: it named none
	Stream       bool
	IncludeUsage bool // the client asked for the usage of its stream
	MaxTokens    int  // output bound of one sequence; 0: none was set
	MinTokens    int  // of one sequence, that it will have at least
	Sequences    int  // at the backend, at least 1
	InputChars   int  // Unicode code points of the text in messages or prompt
	InputBytes   int  // bytes, as UTF-8, that become tokens: text, tools and system
	InputTokens  int  // prompts that came as token ids
	Images       int
	PrefixHash   uint64 // of tools and system message, the same in every process; 0: none
	HeadHash     uint64 // of these and the first message of a user: the same all through a conversation; 0: none
	Priority     int    // the client's own, lower first; 0 also if it is no number
	// TaskPrompt is the beginning of the only message of a request that does not
	// stream, if it begins as the background tasks of Open WebUI do.
	TaskPrompt string

	body    []byte
	members []member // of the top level, in order
	form    *form    // instead of members
	end     int      // index of the closing brace
}

// Scan looks at a body once. The body must not change while the Request is in
// use. An error is always an [*Error].
func Scan(e Endpoint, contentType string, body []byte) (*Request, error) {
	media, params, err := mediaType(contentType)
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	r := &Request{Endpoint: e, Sequences: 1, body: body}
	switch {
	case err != nil:
		return nil, invalid("", "the Content-Type header cannot be read")
	case e.Audio() && media != "multipart/form-data":
		return nil, invalid("", "the body has to be multipart/form-data, with the fields file and model")
	case e.Audio():
		if err := r.scanForm(params["boundary"]); err != nil {
			return nil, err
		}
		return r, nil
	case media != "application/json":
		return nil, invalid("", "the body has to be JSON, sent with the header Content-Type: application/json")
	}
	s := newScanner(r)
	if err := s.run(); err != nil {
		return nil, err
	}
	return r, nil
}

// mediaType is mime.ParseMediaType, without its work in the usual case.
func mediaType(contentType string) (string, map[string]string, error) {
	if contentType == "application/json" || contentType == "" {
		return contentType, nil, nil
	}
	media, params, err := mime.ParseMediaType(contentType)
	return strings.ToLower(media), params, err
}

// Forget lets go of the body, so that who waits with a Request in hand does not
// hold it twice. After it Rewrite is of no use.
func (r *Request) Forget() { r.body, r.members, r.form = nil, nil, nil }

// AddsUsage reports whether the usage of the stream has to be asked for.
func (r *Request) AddsUsage() bool {
	return r.Stream && !r.IncludeUsage && r.Endpoint.reportsUsageIfAsked()
}
