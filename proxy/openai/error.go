package openai

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Shape is the form in which an API tells errors.
type Shape int

// The shapes.
const (
	ShapeOpenAI    Shape = iota // {"error":{…}}
	ShapeResponses              // the same, but in a stream an event of its type
	ShapeAnthropic              // {"type":"error","error":{…}}
)

// Error is what a client is told.
type Error struct {
	Message string
	Type    string // see ErrorType
	Param   string // the field that is wrong, as a path with dots; may be empty
	Code    string
}

// Error makes it an error.
func (e *Error) Error() string { return e.Message }

// ErrorType is what an API calls errors of an HTTP status.
func ErrorType(s Shape, status int) string {
	if s == ShapeAnthropic {
		return anthropicType(status)
	}
	switch {
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status == http.StatusForbidden:
		return "permission_error"
	case status >= http.StatusInternalServerError:
		return "server_error"
	default:
		return "invalid_request_error"
	}
}

func anthropicType(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusServiceUnavailable:
		return "overloaded_error"
	case http.StatusGatewayTimeout:
		return "timeout_error"
	}
	if status >= http.StatusInternalServerError {
		return "api_error"
	}
	return "invalid_request_error"
}

// Body is the error as the body of an answer.
func (e *Error) Body(s Shape) []byte {
	if s == ShapeAnthropic {
		return append(e.appendObject([]byte(`{"type":"error","error":`)), '}')
	}
	return append(e.appendObject([]byte(`{"error":`)), '}')
}

// Event is the error as a server-sent event.
func (e *Error) Event(s Shape) []byte {
	b := []byte("data: ")
	switch s {
	case ShapeAnthropic:
		b = append([]byte("event: error\n"), b...)
		b = append(b, e.Body(s)...)
	case ShapeResponses:
		b = append([]byte("event: error\n"), b...)
		b = append(b, `{"type":"error",`...)
		b = append(e.appendMembers(b), `,"error":`...)
		b = append(e.appendObject(b), '}')
	default:
		b = append(b, e.Body(s)...)
	}
	return append(b, "\n\n"...)
}

func (e *Error) appendObject(b []byte) []byte {
	b = append(b, `{"type":`...)
	b = append(appendQuoted(b, e.Type), ',')
	return append(e.appendMembers(b), '}')
}

func (e *Error) appendMembers(b []byte) []byte {
	b = append(b, `"message":`...)
	b = append(appendQuoted(b, e.Message), `,"param":`...)
	if e.Param == "" {
		b = append(b, "null"...)
	} else {
		b = appendQuoted(b, e.Param)
	}
	return appendQuoted(append(b, `,"code":`...), e.Code)
}

// appendQuoted writes a JSON string; what is no UTF-8 is replaced.
func appendQuoted(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		return append(b, `""`...)
	}
	return out
}

const codeInvalid = "invalid_request"

// invalid is an error of the request itself.
func invalid(param, message string) *Error {
	return &Error{Message: message, Type: ErrorType(ShapeOpenAI, http.StatusBadRequest), Param: param, Code: codeInvalid}
}

// wrong is the error of a value that was read and is of the wrong kind.
func (s *scanner) wrong(name, expected string) error {
	return invalid(name, "`"+name+"` has to be "+expected+" (at byte "+strconv.FormatInt(s.dec.InputOffset(), 10)+" of the body)")
}

// wrongNext is the error of a value that is of the wrong kind, unless it is no
// value at all.
func (s *scanner) wrongNext(name, expected string) error {
	if err := s.skip(); err != nil {
		return err
	}
	return s.wrong(name, expected)
}

// syntax explains what the decoder found.
func (s *scanner) syntax(err error) error {
	var at *jsontext.SyntacticError
	if !errors.As(err, &at) {
		return invalid("", "the body is no complete JSON: it ends too early")
	}
	where := " at byte " + strconv.FormatInt(at.ByteOffset, 10)
	return invalid(pointer(at.JSONPointer), "the body is no valid JSON"+where+": "+at.Err.Error())
}

// pointer is a place in the body as `param` names it.
func pointer(p jsontext.Pointer) string {
	param := strings.ReplaceAll(strings.TrimPrefix(string(p), "/"), "/", ".")
	if len(param) > maxParam {
		param = strings.ToValidUTF8(param[:maxParam], "")
	}
	return param
}

// maxParam bounds what is echoed of a path, in bytes.
const maxParam = 200

// IsError reports whether a body is an error in the shape of an API.
func IsError(s Shape, body []byte) bool {
	object := topLevel(body, "error")
	if len(object) == 0 || object[0] != '{' || len(topLevel(object, "message")) == 0 {
		return false
	}
	return s != ShapeAnthropic || string(topLevel(body, "type")) == `"error"`
}

// ErrorOf is the error in the body of a backend's answer, as far as it tells one.
func ErrorOf(s Shape, status int, body []byte) *Error {
	e := &Error{Type: ErrorType(s, status), Code: strconv.Itoa(status)}
	object := topLevel(body, "error")
	if len(object) == 0 || object[0] != '{' {
		object = body
	}
	text := func(name string) string {
		raw := topLevel(object, name)
		if len(raw) < 2 || raw[0] != '"' {
			return ""
		}
		return string(unquote(raw))
	}
	e.Message, e.Param = text("message"), text("param")
	if e.Message == "" {
		e.Message = text("detail") // of FastAPI's own
	}
	if t := text("type"); t != "" {
		e.Type = t
	}
	if e.Message == "" {
		e.Message = "the model server answered " + strconv.Itoa(status)
	}
	return e
}
