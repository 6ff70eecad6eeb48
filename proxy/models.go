package proxy

import (
	"encoding/json"
	"net/http"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

// modelObject is a model as OpenAI's clients know it, with vLLM's additions.
type modelObject struct {
	ID          string  `json:"id"`
	Object      string  `json:"object"`
	Created     int64   `json:"created"`
	OwnedBy     string  `json:"owned_by"`
	Root        string  `json:"root"`
	Parent      *string `json:"parent"`
	MaxModelLen int     `json:"max_model_len,omitempty"`
}

func (l listed) object() modelObject {
	m := modelObject{ID: l.id, Object: "model", Created: l.of.Created, OwnedBy: l.of.OwnedBy, Root: l.root, MaxModelLen: l.of.MaxModelLen}
	if m.OwnedBy == "" {
		m.OwnedBy = "vllm"
	}
	if m.Root == "" {
		m.Root = l.id
	}
	return m
}

// models answers GET /v1/models: from memory, and the same to everybody.
func (x *exchange) models() {
	c := x.s.deps.Catalog()
	list := struct {
		Object string        `json:"object"`
		Data   []modelObject `json:"data"`
	}{"list", make([]modelObject, len(c.models))}
	for i, l := range c.models {
		list.Data[i] = l.object()
	}
	x.answerJSON(list)
}

// model answers GET /v1/models/{id}, which vLLM lacks and clients expect.
func (x *exchange) model(id string) *scheduler.Problem {
	c := x.s.deps.Catalog()
	for _, l := range c.models {
		if l.id == id {
			x.answerJSON(l.object())
			return nil
		}
	}
	p := scheduler.Problemf(scheduler.CodeModelNotFound, "the model `%s` does not exist; %s", clip(id), c.known())
	p.Param = "model"
	return p
}

func (x *exchange) answerJSON(v any) {
	body, err := json.Marshal(v)
	if err != nil {
		x.fail(scheduler.Problemf(scheduler.CodeInternal, "the answer could not be written"))
		return
	}
	x.header().Set("Content-Type", "application/json")
	x.respond(http.StatusOK, body)
	x.rec.outcome = scheduler.Completed
}

// direct answers what needs no queue.
func (x *exchange) direct() *scheduler.Problem {
	switch x.route.Endpoint {
	case openai.Models:
		x.models()
		return nil
	case openai.Queue:
		x.mine()
		return nil
	case openai.Model:
		return x.model(x.route.ID)
	default:
		return x.pass()
	}
}
