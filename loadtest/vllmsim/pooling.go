package vllmsim

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// dimensions is the length of an embedding.
const dimensions = 384

// poolingRequest is a body of /v1/embeddings, /pooling or /classify.
type poolingRequest struct {
	model, id, encoding string
	prompts             []prompt
	priority            int
}

func (s *Server) embeddings(w http.ResponseWriter, r *http.Request) {
	s.pool(w, r, poolAnswer{id: "embd-", object: "embedding", field: "embedding"})
}

func (s *Server) pooling(w http.ResponseWriter, r *http.Request) {
	s.pool(w, r, poolAnswer{id: "pooling-", object: "pooling", field: "data"})
}

// classify is for a look around: a real server that embeds does not classify.
func (s *Server) classify(w http.ResponseWriter, r *http.Request) {
	s.pool(w, r, poolAnswer{id: "classify-"})
}

// poolAnswer is how an endpoint calls what it answers; classes have no object.
type poolAnswer struct{ id, object, field string }

func (s *Server) pool(w http.ResponseWriter, r *http.Request, a poolAnswer) {
	p, f := s.readPooling(r)
	if f == nil {
		f = s.encode(r.Context(), p.prompts, priorityOf(r, p.priority))
	}
	if f != nil {
		answerFault(w, f)
		return
	}
	id := a.id + s.requestID(r, p.id)
	if p.encoding == "bytes" || p.encoding == "bytes_only" {
		s.answerBytes(w, p, id)
		return
	}
	b := append([]byte(`{"id":`), compact(id)...)
	b = append(b, `,"object":"list","created":`...)
	b = strconv.AppendInt(b, time.Now().Unix(), 10)
	b = append(b, `,"model":`...)
	b = append(b, compact(p.model)...)
	b = append(b, `,"data":[`...)
	for i := range p.prompts {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.append(b, i, p.prompts[i].hash, p.encoding)
	}
	b = append(b, `],"usage":`...)
	b = append(b, poolUsage(p.prompts)...)
	answerJSON(w, http.StatusOK, append(b, '}'))
}

func (a poolAnswer) append(b []byte, i int, hash uint64, encoding string) []byte {
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(i), 10)
	if a.object == "" {
		p := float64(hash%1000) / 1000
		label := hash % 2 * uint64(math.Round(p))
		return fmt.Appendf(b, `,"label":"LABEL_%d","probs":[%g,%g],"num_classes":2}`, label, 1-p, p)
	}
	b = append(b, `,"object":"`+a.object+`","`+a.field+`":`...)
	v := embedding(hash)
	if encoding == "base64" {
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, littleEndian(v))
		return append(b, `"}`...)
	}
	b = append(b, '[')
	for k, x := range v {
		if k > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 64)
	}
	return append(b, `]}`...)
}

// answerBytes is the embeddings as they are in memory, described in a header.
func (s *Server) answerBytes(w http.ResponseWriter, p *poolingRequest, id string) {
	type item struct {
		Index  int    `json:"index"`
		Type   string `json:"embed_dtype"`
		Endian string `json:"endianness"`
		Start  int    `json:"start"`
		End    int    `json:"end"`
		Shape  [1]int `json:"shape"`
	}
	const size = dimensions * 4
	var body []byte
	items := make([]item, len(p.prompts))
	for i := range p.prompts {
		items[i] = item{i, "float32", "native", i * size, (i + 1) * size, [1]int{dimensions}}
		body = append(body, littleEndian(embedding(p.prompts[i].hash))...)
	}
	if p.encoding == "bytes" {
		w.Header().Set("Metadata", string(compact(struct {
			ID      string          `json:"id"`
			Created int64           `json:"created"`
			Model   string          `json:"model"`
			Data    []item          `json:"data"`
			Usage   json.RawMessage `json:"usage"`
		}{id, time.Now().Unix(), p.model, items, poolUsage(p.prompts)})))
	}
	respond(w, "application/octet-stream", http.StatusOK, body)
}

func poolUsage(prompts []prompt) json.RawMessage {
	n := 0
	for i := range prompts {
		n += len(prompts[i].tokens)
	}
	return compact(usageBody{PromptTokens: n, TotalTokens: n})
}

// encode runs prompts through the engine, which generates nothing.
func (s *Server) encode(ctx context.Context, prompts []prompt, priority int) *fault {
	seqs := make([]sequence, len(prompts))
	for i := range seqs {
		seqs[i] = sequence{prompt: &prompts[i], priority: priority, finish: "stop"}
	}
	return s.finish(ctx, newJob(seqs, false))
}

func (s *Server) readPooling(r *http.Request) (*poolingRequest, *fault) {
	f, bad := readJSON(r)
	if bad != nil {
		return nil, bad
	}
	if f.has("normalize") {
		return nil, badParameter("normalize", "Parameter `normalize` was removed; use `use_activation` instead.")
	}
	if bad = checkSalt(f); bad != nil {
		return nil, bad
	}
	f.declare(declaredPooling)
	size := f.optional("dimensions")
	p := &poolingRequest{
		model: f.text("model"), id: f.text("request_id"), encoding: f.text("encoding_format"), priority: f.priority(),
	}
	f.checkEncoding(p.encoding)
	g := &sampling{truncate: f.int64("truncate_prompt_tokens"), salt: f.text("cache_salt")}
	inputs, bad := s.poolInputs(f)
	if flawed := f.fault(); flawed != nil {
		return nil, flawed
	}
	if bad != nil {
		return nil, bad
	}
	if p.model, bad = s.checkModel(p.model); bad != nil {
		return nil, bad
	}
	if size != nil {
		return nil, badRequest("", fmt.Sprintf(
			"Model '%s' does not support Matryoshka embeddings; dimensions must be unset (received dimensions=%d).", p.model, *size))
	}
	p.prompts, bad = s.tokenizeInputs(inputs, g)
	return p, bad
}

func (f *fields) checkEncoding(encoding string) {
	switch encoding {
	case "", "float", "base64", "bytes", "bytes_only":
		return
	}
	f.note(noLiteral(f.path("encoding_format"), encoding, "float", "base64", "bytes", "bytes_only"))
}

// poolInputs reads input, or the conversation that stands for it.
func (s *Server) poolInputs(f *fields) ([]input, *fault) {
	if f.has("messages") {
		messages := readMessages(f.list("messages"), f.path("messages"), f.bad)
		return []input{{tokens: render(messages, "", false, s.maxModelLen()+1)}}, nil
	}
	v, there := f.members["input"]
	if !there {
		f.note(missing(f.path("input"), f.object))
		f.note(missing(f.path("messages"), f.object))
		return nil, nil
	}
	inputs, bad, ok := readInputs(v)
	if !ok {
		f.note(noList(f.path("input"), v))
		f.note(noText(f.path("input"), v))
	}
	return inputs, bad
}

func (s *Server) tokenizeInputs(inputs []input, g *sampling) ([]prompt, *fault) {
	if len(inputs) == 0 {
		return nil, badRequest("", "You must pass at least one prompt")
	}
	prompts := make([]prompt, 0, len(inputs))
	for _, in := range inputs {
		tokens, bad := s.tokenizeInput(in, g)
		if bad != nil {
			return nil, bad
		}
		prompts = append(prompts, newPrompt(tokens, g.salt, s.loop.cfg.Profile.BlockSize))
	}
	return prompts, nil
}

// embedding is a vector of length one that depends on all of a text.
func embedding(hash uint64) []float32 {
	v := make([]float32, dimensions)
	sum := 0.0
	for i := range v {
		x := float64(mix(hash, uint64(i))>>11)/(1<<52) - 1
		v[i] = float32(x)
		sum += x * x
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(sum))
	}
	return v
}

func littleEndian(v []float32) []byte {
	out := make([]byte, 0, 4*len(v))
	for _, x := range v {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}
