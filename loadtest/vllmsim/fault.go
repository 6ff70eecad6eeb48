package vllmsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"fairlane/scheduler/gpumodel"
)

// The types of vLLM's errors.
const (
	typeValidation  = "Bad Request" // with a blank: of the body's form
	typeBadRequest  = "BadRequestError"
	typeNotFound    = "NotFoundError"
	typeInternal    = "InternalServerError"
	typeUnavailable = "Service Unavailable"
	typeResponses   = "invalid_request_error" // of /v1/responses alone
)

// fault is an answer that is an error.
type fault struct {
	status  int
	kind    string
	message string
	param   string // "": null
	detail  string // instead of all these: {"detail": …}
}

func badRequest(param, message string) *fault {
	return &fault{status: http.StatusBadRequest, kind: typeBadRequest, message: message, param: param}
}

// badValue is a value that is out of bounds, as vLLM words it.
func badValue(param string, value any, message string) *fault {
	return badRequest(param, fmt.Sprintf("%s (parameter=%s, value=%v)", message, param, value))
}

// badParameter is a parameter that must not be there, as vLLM words it.
func badParameter(param, message string) *fault {
	return badRequest(param, fmt.Sprintf("%s (parameter=%s)", message, param))
}

func detailed(status int, detail string) *fault { return &fault{status: status, detail: detail} }

type errorBody struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    int     `json:"code"`
}

// openAI is the fault in OpenAI's shape.
func (f *fault) openAI() []byte {
	if f.detail != "" {
		return compact(map[string]string{"detail": f.detail})
	}
	b := errorBody{Message: f.message, Type: f.kind, Code: f.status}
	if f.param != "" {
		b.Param = &f.param
	}
	return compact(map[string]errorBody{"error": b})
}

// anthropic is the fault in Anthropic's shape. What is wrong with the form of a
// body is said in OpenAI's, also below /v1/messages.
func (f *fault) anthropic() []byte {
	if f.detail != "" || f.kind == typeValidation {
		return f.openAI()
	}
	type body struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	return compact(struct {
		Type  string `json:"type"`
		Error body   `json:"error"`
	}{"error", body{f.kind, f.message}})
}

// spaced is the error as it comes within a stream: unlike all other events with a
// blank after each colon and comma.
func (f *fault) spaced() []byte {
	param := "null"
	if f.param != "" {
		param = string(compact(f.param))
	}
	return fmt.Appendf(nil, `{"error": {"message": %s, "type": %s, "param": %s, "code": %d}}`,
		compact(f.message), compact(f.kind), param, f.status)
}

// faultOf is how vLLM tells what ended a job, or nil if there is nobody to tell.
func faultOf(err error) *fault {
	switch {
	case errors.Is(err, gpumodel.ErrBusy):
		return unavailable("The engine is currently busy and cannot accept new requests. Please try again later or on a different instance.")
	case errors.Is(err, gpumodel.ErrBacklog):
		return unavailable("The engine has reached its prefill token backlog limit. Please try again later or on a different instance.")
	case errors.Is(err, errEngineDead), errors.Is(err, gpumodel.ErrDead):
		return &fault{
			status: http.StatusInternalServerError, kind: typeInternal,
			message: "EngineCore encountered an issue. See stack trace (above) for the root cause.",
		}
	case errors.Is(err, gpumodel.ErrTooLarge), errors.Is(err, gpumodel.ErrRequest):
		return &fault{status: http.StatusInternalServerError, kind: typeInternal, message: err.Error()}
	}
	return nil
}

func unavailable(message string) *fault {
	return &fault{status: http.StatusServiceUnavailable, kind: typeUnavailable, message: message}
}

// compact is v as JSON, as vLLM writes it: without blanks, and without escaping
// what only HTML needs.
func compact(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return []byte(`{"detail":"` + strings.ReplaceAll(err.Error(), `"`, "'") + `"}`)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
