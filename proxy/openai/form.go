package openai

import (
	"bytes"
	"errors"
	"io"
	"mime/multipart"
	"slices"
	"strconv"
	"strings"
)

// bytesPerAudioToken is how much of a file becomes one token, roughly: speech
// comes as 16 kB a second, and a second is 50 tokens of Whisper's encoder.
const bytesPerAudioToken = 320

// maxFormField bounds what is read of a field that is no file, in bytes.
const maxFormField = 64 << 10

// form is a multipart body that was looked through.
type form struct {
	boundary string
	names    []string
}

// scanForm looks through the form of an audio endpoint.
func (r *Request) scanForm(boundary string) error {
	if boundary == "" {
		return invalid("", "the Content-Type header names no boundary")
	}
	r.form = &form{boundary: boundary}
	parts := multipart.NewReader(bytes.NewReader(r.body), boundary)
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return invalid("", "the form is not complete or not well-formed")
		}
		if err := r.scanPart(part); err != nil {
			return err
		}
	}
	if !slices.Contains(r.form.names, "file") {
		return invalid("file", "`file` is missing")
	}
	return nil
}

func (r *Request) scanPart(part *multipart.Part) error {
	name := part.FormName()
	if list := strings.HasSuffix(name, "[]"); !list && slices.Contains(r.form.names, name) {
		return invalid(name, "the form has `"+name+"` twice")
	}
	if len(r.form.names) == maxFields {
		return invalid("", "the form has more than "+strconv.Itoa(maxFields)+" fields")
	}
	r.form.names = append(r.form.names, name)
	if name == "file" {
		n, err := io.Copy(io.Discard, part)
		if err != nil {
			return invalid(name, "the form ends within the file")
		}
		r.InputTokens += int(n / bytesPerAudioToken)
		return nil
	}
	value, err := io.ReadAll(io.LimitReader(part, maxFormField+1))
	if err != nil {
		return invalid(name, "the form ends within `"+name+"`")
	}
	if len(value) > maxFormField {
		return invalid(name, "`"+name+"` is too long")
	}
	switch name {
	case "model":
		r.Model = string(value)
	case "prompt":
		r.InputBytes += len(value)
	case "stream":
		r.Stream = slices.Contains([]string{"true", "1", "on", "yes", "t", "y"}, strings.ToLower(string(value)))
	}
	return nil
}

// rewriteForm writes the form anew with the same boundary, so that the header
// stays true.
func (r *Request) rewriteForm(e Edit) ([]byte, error) {
	touched := slices.ContainsFunc(r.form.names, func(name string) bool {
		return name == "model" && e.Model != "" && e.Model != r.Model || slices.Contains(e.Strip, name)
	})
	if !touched {
		return r.body, nil
	}
	var out bytes.Buffer
	out.Grow(len(r.body) + len(e.Model))
	w := multipart.NewWriter(&out)
	if err := w.SetBoundary(r.form.boundary); err != nil {
		return nil, err
	}
	parts := multipart.NewReader(bytes.NewReader(r.body), r.form.boundary)
	for range r.form.names {
		part, err := parts.NextRawPart()
		if err != nil {
			return nil, err
		}
		if err := rewritePart(w, part, e); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func rewritePart(w *multipart.Writer, part *multipart.Part, e Edit) error {
	name := part.FormName()
	if slices.Contains(e.Strip, name) {
		return nil
	}
	to, err := w.CreatePart(part.Header)
	if err != nil {
		return err
	}
	if name == "model" && e.Model != "" {
		_, err = io.WriteString(to, e.Model)
		return err
	}
	_, err = io.Copy(to, part)
	return err
}
