package openai

import (
	"net/http"
	"strings"
)

// Route is what a path stands for.
type Route struct {
	Endpoint Endpoint
	Method   string // the one that works; HEAD goes where GET does
	Queued   bool   // needs the GPU; the rest is answered or passed on at once
	Shape    Shape
	ID       string // of the model or response that the path names
}

// Match finds the route of a path. False: there is nothing here. A slash too
// many is another path, as it is at the backend.
func Match(path string) (Route, bool) {
	if e := queuedEndpoint(path); e != "" {
		return Route{Endpoint: e, Method: http.MethodPost, Queued: true, Shape: shapeOf(e)}, true
	}
	switch path {
	case "/v1/models":
		return Route{Endpoint: Models, Method: http.MethodGet}, true
	case "/v1/queue":
		return Route{Endpoint: Queue, Method: http.MethodGet}, true
	case "/tokenize":
		return Route{Endpoint: Tokenize, Method: http.MethodPost}, true
	case "/detokenize":
		return Route{Endpoint: Detokenize, Method: http.MethodPost}, true
	case "/v1/messages/count_tokens":
		return Route{Endpoint: CountTokens, Method: http.MethodPost, Shape: ShapeAnthropic}, true
	}
	if id, ok := strings.CutPrefix(path, "/v1/models/"); ok && plainID(id) {
		return Route{Endpoint: Model, Method: http.MethodGet, ID: id}, true
	}
	if id, ok := strings.CutPrefix(path, "/v1/responses/"); ok {
		return responseRoute(id)
	}
	return Route{}, false
}

func queuedEndpoint(path string) Endpoint {
	switch path {
	case "/v1/chat/completions":
		return Chat
	case "/v1/chat/completions/batch":
		return ChatBatch
	case "/v1/completions":
		return Completions
	case "/v1/responses":
		return Responses
	case "/v1/messages":
		return Messages
	case "/v1/embeddings":
		return Embeddings
	case "/pooling":
		return Pooling
	case "/classify":
		return Classify
	case "/rerank", "/v1/rerank", "/v2/rerank":
		return Rerank
	case "/score", "/v1/score":
		return Score
	case "/v1/audio/transcriptions":
		return Transcriptions
	case "/v1/audio/translations":
		return Translations
	default:
		return ""
	}
}

func shapeOf(e Endpoint) Shape {
	switch e {
	case Messages:
		return ShapeAnthropic
	case Responses:
		return ShapeResponses
	default:
		return ShapeOpenAI
	}
}

func responseRoute(id string) (Route, bool) {
	r := Route{Endpoint: ResponseGet, Method: http.MethodGet, Shape: ShapeResponses}
	if before, ok := strings.CutSuffix(id, "/cancel"); ok {
		id = before
		r.Endpoint, r.Method = ResponseCancel, http.MethodPost
	}
	r.ID = id
	return r, plainID(id) && !strings.Contains(id, "/")
}

// plainID reports whether an id in a path leads nowhere else: model ids may
// hold slashes, but no empty or dotted step.
func plainID(id string) bool {
	for step := range strings.SplitSeq(id, "/") {
		if step == "" || step == "." || step == ".." {
			return false
		}
	}
	return true
}
