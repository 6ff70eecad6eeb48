package vllmsim

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"unicode/utf8"
)

// readJSON reads a request's body, which has to be declared as JSON.
func readJSON(r *http.Request) (*fields, *fault) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, validation("", "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed")
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, detailed(http.StatusBadRequest, "There was an error parsing the body")
	}
	if len(raw) == 0 {
		return nil, flaws{missing("body", nil)}.fault()
	}
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(raw) {
		return nil, detailed(http.StatusBadRequest, "There was an error parsing the body")
	}
	v, syntax := parseJSON(string(raw))
	if syntax != nil {
		return nil, syntax.fault()
	}
	if v == nil {
		return nil, flaws{missing("body", nil)}.fault()
	}
	o, ok := v.(object)
	if !ok {
		return nil, flaws{noObject("body", v)}.fault()
	}
	return &fields{object: o, at: "body", bad: new(flaws)}, nil
}
