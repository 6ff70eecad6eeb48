package vllmsim

import (
	"encoding/json"
	"sync"
)

// response is the answer of /v1/responses, also while it is in the making.
type response struct {
	ID             string            `json:"id"`
	Created        int64             `json:"created_at"`
	Incomplete     *incompleteReason `json:"incomplete_details"`
	Instructions   any               `json:"instructions"`
	Metadata       any               `json:"metadata"`
	Model          string            `json:"model"`
	Object         string            `json:"object"`
	Output         []any             `json:"output"`
	Parallel       bool              `json:"parallel_tool_calls"`
	Temperature    json.RawMessage   `json:"temperature"`
	ToolChoice     any               `json:"tool_choice"`
	Tools          []any             `json:"tools"`
	TopP           json.RawMessage   `json:"top_p"`
	Background     bool              `json:"background"`
	MaxOutput      int               `json:"max_output_tokens"`
	MaxToolCalls   any               `json:"max_tool_calls"`
	Previous       any               `json:"previous_response_id"`
	Prompt         any               `json:"prompt"`
	Reasoning      any               `json:"reasoning"`
	ServiceTier    any               `json:"service_tier"`
	Status         string            `json:"status"`
	Text           any               `json:"text"`
	TopLogprobs    any               `json:"top_logprobs"`
	Truncation     any               `json:"truncation"`
	Usage          *responseUsage    `json:"usage"`
	User           any               `json:"user"`
	Presence       json.RawMessage   `json:"presence_penalty"`
	Frequency      json.RawMessage   `json:"frequency_penalty"`
	KVTransfer     *struct{}         `json:"kv_transfer_params"`
	ECTransfer     *struct{}         `json:"ec_transfer_params"`
	InputMessages  *struct{}         `json:"input_messages"`
	OutputMessages *struct{}         `json:"output_messages"`
}

type incompleteReason struct {
	Reason string `json:"reason"`
}

type responseUsage struct {
	Input        int           `json:"input_tokens"`
	InputDetails inputDetails  `json:"input_tokens_details"`
	Output       int           `json:"output_tokens"`
	Details      outputDetails `json:"output_tokens_details"`
	Total        int           `json:"total_tokens"`
}

type inputDetails struct {
	Cached        int   `json:"cached_tokens"`
	Written       int   `json:"cache_write_tokens"`
	PerTurn       []int `json:"input_tokens_per_turn"`
	CachedPerTurn []int `json:"cached_tokens_per_turn"`
}

type outputDetails struct {
	Reasoning   int   `json:"reasoning_tokens"`
	Tool        int   `json:"tool_output_tokens"`
	PerTurn     []int `json:"output_tokens_per_turn"`
	ToolPerTurn []int `json:"tool_output_tokens_per_turn"`
}

// outputText is a message's only content.
type outputText struct {
	Annotations []any           `json:"annotations"`
	Text        string          `json:"text"`
	Type        string          `json:"type"`
	Logprobs    json.RawMessage `json:"logprobs"`
}

func newOutputText(text string) outputText {
	return outputText{Annotations: []any{}, Text: text, Type: "output_text"}
}

type outputMessage struct {
	ID      string    `json:"id"`
	Content []any     `json:"content"`
	Role    string    `json:"role"`
	Status  string    `json:"status"`
	Type    string    `json:"type"`
	Phase   *struct{} `json:"phase"`
}

func newOutputMessage(id, status string, content ...any) outputMessage {
	if content == nil {
		content = []any{}
	}
	return outputMessage{ID: id, Content: content, Role: "assistant", Status: status, Type: "message"}
}

type functionCall struct {
	Arguments string    `json:"arguments"`
	CallID    string    `json:"call_id"`
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	ID        string    `json:"id"`
	Async     *struct{} `json:"async"`
	Caller    *struct{} `json:"caller"`
	Namespace *struct{} `json:"namespace"`
	Status    string    `json:"status"`
}

// finish fills in what is known at the end. A stream has told the items already.
func (b *response) finish(s *Server, q *sequence, u usage) {
	b.Status = "completed"
	if q.finish == "length" {
		b.Status, b.Incomplete = "incomplete", &incompleteReason{"max_output_tokens"}
	}
	b.Usage = &responseUsage{
		Input: u.prompt, Output: u.generated, Total: u.prompt + u.generated,
		InputDetails: inputDetails{Cached: u.cached, Written: u.created, PerTurn: []int{}, CachedPerTurn: []int{}},
		Details:      outputDetails{PerTurn: []int{}, ToolPerTurn: []int{}},
	}
	if len(b.Output) > 0 {
		return
	}
	if q.called() {
		b.Output = append(b.Output, functionCall{
			Arguments: q.answer.fixed[q.call.from:q.call.to], CallID: s.newCallID(), Name: q.call.name, Type: "function_call",
			ID: "fc_" + s.newID(), Status: "completed",
		})
	} else if text := q.answer.text(q.output); text != "" {
		b.Output = append(b.Output, newOutputMessage("msg_"+s.newID(), "completed", newOutputText(text)))
	}
}

// mostResponses is how many responses are kept; vLLM keeps all.
const mostResponses = 1000

// responseStore keeps responses, if the server is told to.
type responseStore struct {
	mu     sync.Mutex
	bodies map[string][]byte
	order  []string
}

func newResponseStore() *responseStore { return &responseStore{bodies: make(map[string][]byte)} }

func (st *responseStore) put(id string, body []byte) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if _, there := st.bodies[id]; !there {
		st.order = append(st.order, id)
	}
	st.bodies[id] = body
	if len(st.order) > mostResponses {
		delete(st.bodies, st.order[0])
		st.order = st.order[1:]
	}
}

func (st *responseStore) get(id string) []byte {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.bodies[id]
}
