package openai

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestErrorShapes(t *testing.T) {
	e := &Error{Message: "no \"x\"\n\xff", Type: "server_error", Param: "a.b", Code: "c"}
	const members = `"message":"no \"x\"\n` + "\uFFFD" + `","param":"a.b","code":"c"`
	const object = `{"type":"server_error",` + members + `}`
	tests := []struct {
		shape       Shape
		body, event string
	}{
		{ShapeOpenAI, `{"error":` + object + `}`, `data: {"error":` + object + "}\n\n"},
		{ShapeResponses, `{"error":` + object + `}`, "event: error\n" + `data: {"type":"error",` + members + `,"error":` + object + "}\n\n"},
		{ShapeAnthropic, `{"type":"error","error":` + object + `}`, "event: error\n" + `data: {"type":"error","error":` + object + "}\n\n"},
	}
	for _, tt := range tests {
		if got := string(e.Body(tt.shape)); got != tt.body || !json.Valid([]byte(got)) {
			t.Errorf("body %s\nwant %s", got, tt.body)
		}
		if got := string(e.Event(tt.shape)); got != tt.event {
			t.Errorf("event %s\nwant %s", got, tt.event)
		}
	}
	if got := string((&Error{}).Body(ShapeOpenAI)); got != `{"error":{"type":"","message":"","param":null,"code":""}}` {
		t.Errorf("got %s", got)
	}
}

func TestErrorTypes(t *testing.T) {
	tests := []struct {
		status            int
		openai, anthropic string
	}{
		{400, "invalid_request_error", "invalid_request_error"},
		{401, "authentication_error", "authentication_error"},
		{403, "permission_error", "permission_error"},
		{404, "invalid_request_error", "not_found_error"},
		{413, "invalid_request_error", "request_too_large"},
		{429, "rate_limit_error", "rate_limit_error"},
		{500, "server_error", "api_error"},
		{502, "server_error", "api_error"},
		{503, "server_error", "overloaded_error"},
		{504, "server_error", "timeout_error"},
	}
	for _, tt := range tests {
		if a, b := ErrorType(ShapeOpenAI, tt.status), ErrorType(ShapeAnthropic, tt.status); a != tt.openai || b != tt.anthropic {
			t.Errorf("%d: %s and %s", tt.status, a, b)
		}
	}
}

func TestErrorOf(t *testing.T) {
	tests := []struct{ name, body, message, kind, param string }{
		{"vLLM's", `{"error":{"message":"too \"long\"","type":"BadRequestError","param":"input_tokens","code":400}}`, `too "long"`, "BadRequestError", "input_tokens"},
		{"flat", `{"message":"m","param":null}`, "m", "invalid_request_error", ""},
		{"a bare text", `{"error":"Unauthorized"}`, "the model server answered 400", "invalid_request_error", ""},
		{"garbage", `<html>`, "the model server answered 400", "invalid_request_error", ""},
		{"cut", `{"error":{"message":"m`, "the model server answered 400", "invalid_request_error", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ErrorOf(ShapeOpenAI, 400, []byte(tt.body))
			if want := (Error{Message: tt.message, Type: tt.kind, Param: tt.param, Code: "400"}); *got != want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestMatch(t *testing.T) {
	tests := []struct {
		path string
		want Route
		ok   bool
	}{
		{"/v1/chat/completions", Route{Endpoint: Chat, Method: "POST", Queued: true}, true},
		{"/v1/chat/completions/batch", Route{Endpoint: ChatBatch, Method: "POST", Queued: true}, true},
		{"/v1/completions", Route{Endpoint: Completions, Method: "POST", Queued: true}, true},
		{"/v1/responses", Route{Endpoint: Responses, Method: "POST", Queued: true, Shape: ShapeResponses}, true},
		{"/v1/messages", Route{Endpoint: Messages, Method: "POST", Queued: true, Shape: ShapeAnthropic}, true},
		{"/v1/embeddings", Route{Endpoint: Embeddings, Method: "POST", Queued: true}, true},
		{"/pooling", Route{Endpoint: Pooling, Method: "POST", Queued: true}, true},
		{"/classify", Route{Endpoint: Classify, Method: "POST", Queued: true}, true},
		{"/rerank", Route{Endpoint: Rerank, Method: "POST", Queued: true}, true},
		{"/v1/rerank", Route{Endpoint: Rerank, Method: "POST", Queued: true}, true},
		{"/v2/rerank", Route{Endpoint: Rerank, Method: "POST", Queued: true}, true},
		{"/score", Route{Endpoint: Score, Method: "POST", Queued: true}, true},
		{"/v1/score", Route{Endpoint: Score, Method: "POST", Queued: true}, true},
		{"/v1/audio/transcriptions", Route{Endpoint: Transcriptions, Method: "POST", Queued: true}, true},
		{"/v1/audio/translations", Route{Endpoint: Translations, Method: "POST", Queued: true}, true},
		{"/v1/models", Route{Endpoint: Models, Method: "GET"}, true},
		{"/v1/queue", Route{Endpoint: Queue, Method: "GET"}, true},
		{"/v1/models/org/m", Route{Endpoint: Model, Method: "GET", ID: "org/m"}, true},
		{"/tokenize", Route{Endpoint: Tokenize, Method: "POST"}, true},
		{"/detokenize", Route{Endpoint: Detokenize, Method: "POST"}, true},
		{"/v1/messages/count_tokens", Route{Endpoint: CountTokens, Method: "POST", Shape: ShapeAnthropic}, true},
		{"/v1/responses/r1", Route{Endpoint: ResponseGet, Method: "GET", Shape: ShapeResponses, ID: "r1"}, true},
		{"/v1/responses/r1/cancel", Route{Endpoint: ResponseCancel, Method: "POST", Shape: ShapeResponses, ID: "r1"}, true},
	}
	for _, tt := range tests {
		if got, ok := Match(tt.path); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v %v", tt.path, got, ok)
		}
	}
	for path := range strings.FieldsSeq(`/ /v1 /v1/ /v1/models/ /v1/models/../x /v1/models//x /v1/responses/ /v1/responses/a/b /v1/responses/../models /v1/responses//cancel
		/v1/responses/cancel/cancel/x /v1/chat/completions/ //v1/models /V1/models /metrics /load /health /version /invocations /sleep /v1/load_lora_adapter /collective_rpc /v1/images/generations`) {
		if got, ok := Match(path); ok {
			t.Errorf("%s: %+v", path, got)
		}
	}
}
