package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// backend looks at one vLLM directly, for what its flags are can only be seen
// from how it answers.
func (d *Doctor) backend(ctx context.Context, b Backend) []Finding {
	what := "vLLM at " + b.URL
	code, body, err := d.call(ctx, http.MethodGet, b.URL+"/v1/models", b.APIKey, nil)
	switch {
	case err != nil:
		return []Finding{{Bad, what, err.Error(), "start it, or mend pools[].backends[].url"}}
	case code == http.StatusUnauthorized:
		return []Finding{{Bad, what, "it wants a key", "set pools[].backends[].api_key"}}
	case code != http.StatusOK:
		return []Finding{{Bad, what, fmt.Sprintf("/v1/models answers %d", code), "is this a vLLM?"}}
	}
	var list struct {
		Data []struct{ ID string } `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil || len(list.Data) == 0 {
		return []Finding{{Bad, what, "/v1/models names no model", "is this a vLLM?"}}
	}
	model := list.Data[0].ID
	return append([]Finding{{OK, what, "it serves " + model, ""}}, d.chat(ctx, b, what, model)...)
}

// chat asks for one token, with a tool, as Open WebUI does.
func (d *Doctor) chat(ctx context.Context, b Backend, what, model string) []Finding {
	request := map[string]any{
		"model": model, "max_tokens": 1, "temperature": 0,
		"messages": []any{map[string]any{"role": "user", "content": "Hello"}},
	}
	code, body, err := d.call(ctx, http.MethodPost, b.URL+"/v1/chat/completions", b.APIKey, request)
	if err != nil {
		return []Finding{{Bad, what, err.Error(), "see vLLM's log"}}
	}
	if code == http.StatusNotFound {
		return []Finding{{OK, what, "it does not chat: a server for embeddings or scores", ""}}
	}
	if code != http.StatusOK {
		return []Finding{{Bad, what, fmt.Sprintf("a chat is answered with %d: %s", code, firstLine(body)), "see vLLM's log"}}
	}
	return append(details(what, body), d.tools(ctx, b, what, request)...)
}

func details(what string, body []byte) []Finding {
	var answer struct {
		Usage struct {
			Details *struct{} `json:"prompt_tokens_details"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return []Finding{{Bad, what, "its answer is no JSON: " + err.Error(), "is this a vLLM?"}}
	}
	if answer.Usage.Details == nil {
		return []Finding{{
			Hint, what, "it does not say how much of a prompt was cached, so cached tokens are charged in full",
			"start vLLM with --enable-prompt-tokens-details",
		}}
	}
	return []Finding{{OK, what, "it says how much of a prompt was cached", ""}}
}

func (d *Doctor) tools(ctx context.Context, b Backend, what string, request map[string]any) []Finding {
	request["tools"] = []any{map[string]any{"type": "function", "function": map[string]any{
		"name": "look", "parameters": map[string]any{"type": "object", "properties": map[string]any{}},
	}}}
	request["tool_choice"] = "auto"
	code, body, err := d.call(ctx, http.MethodPost, b.URL+"/v1/chat/completions", b.APIKey, request)
	switch {
	case err != nil:
		return []Finding{{Bad, what, err.Error(), "see vLLM's log"}}
	case code == http.StatusBadRequest && strings.Contains(string(body), "tool"):
		return []Finding{{
			Bad, what, "it refuses tools, which Open WebUI sends with every chat",
			"start vLLM with --enable-auto-tool-choice --tool-call-parser NAME (hermes for Qwen)",
		}}
	case code != http.StatusOK:
		return []Finding{{Hint, what, fmt.Sprintf("a chat with a tool is answered with %d: %s", code, firstLine(body)), "see vLLM's log"}}
	default:
		return []Finding{{OK, what, "it takes tools", ""}}
	}
}
