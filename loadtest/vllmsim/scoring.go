package vllmsim

import (
	"cmp"
	"net/http"
	"slices"
	"time"
)

// scored is texts on two sides, and how near each pair is.
type scored struct {
	model, id   string
	left, right []prompt
	scores      []float64
	texts       []string // of the right side
}

func (s *Server) score(w http.ResponseWriter, r *http.Request) {
	f, bad := readJSON(r)
	if bad != nil {
		answerFault(w, bad)
		return
	}
	sc, bad := s.scoreSides(r, f, scoreFields(f))
	if bad != nil {
		answerFault(w, bad)
		return
	}
	type item struct {
		Index  int     `json:"index"`
		Object string  `json:"object"`
		Score  float64 `json:"score"`
	}
	items := make([]item, len(sc.scores))
	for i, x := range sc.scores {
		items[i] = item{i, "score", x}
	}
	n := sc.tokens()
	answerJSON(w, http.StatusOK, compact(struct {
		ID      string    `json:"id"`
		Object  string    `json:"object"`
		Created int64     `json:"created"`
		Model   string    `json:"model"`
		Data    []item    `json:"data"`
		Usage   usageBody `json:"usage"`
	}{sc.id, "list", time.Now().Unix(), sc.model, items, usageBody{PromptTokens: n, TotalTokens: n}}))
}

// scoreFields is how a body calls its two sides.
func scoreFields(f *fields) [2]string {
	names := [][2]string{{"queries", "documents"}, {"queries", "items"}, {"data_1", "data_2"}, {"text_1", "text_2"}}
	for _, pair := range names {
		if f.has(pair[0]) && f.has(pair[1]) {
			return pair
		}
	}
	for _, pair := range names {
		for _, name := range pair {
			if !f.has(name) {
				f.note(missing(f.path(name), f.object))
			}
		}
	}
	return names[3]
}

func (s *Server) rerank(w http.ResponseWriter, r *http.Request) {
	f, bad := readJSON(r)
	if bad != nil {
		answerFault(w, bad)
		return
	}
	for _, name := range []string{"query", "documents"} {
		if _, there := f.members[name]; !there {
			f.note(missing(f.path(name), f.object))
		}
	}
	f.declare("top_n:-int!")
	top := f.integer("top_n", 0)
	if top < 0 {
		f.note(flaw{
			kind: "greater_than_equal", at: f.path("top_n"), message: "Input should be greater than or equal to 0",
			input: f.members["top_n"], context: "{'ge': 0}",
		})
	}
	sc, bad := s.scoreSides(r, f, [2]string{"query", "documents"})
	if bad != nil {
		answerFault(w, bad)
		return
	}
	answerJSON(w, http.StatusOK, compact(sc.ranking(top)))
}

type rankedDocument struct {
	Text       string    `json:"text"`
	MultiModal *struct{} `json:"multi_modal"`
}

type ranked struct {
	Index     int            `json:"index"`
	Document  rankedDocument `json:"document"`
	Relevance float64        `json:"relevance_score"`
}

type rankUsage struct {
	Prompt int `json:"prompt_tokens"`
	Total  int `json:"total_tokens"`
}

type ranking struct {
	ID      string    `json:"id"`
	Model   string    `json:"model"`
	Usage   rankUsage `json:"usage"`
	Results []ranked  `json:"results"`
}

// ranking is the best documents first; top 0 is all of them.
func (sc *scored) ranking(top int) ranking {
	n := sc.tokens()
	out := ranking{ID: sc.id, Model: sc.model, Usage: rankUsage{n, n}, Results: make([]ranked, 0, len(sc.scores))}
	for i, x := range sc.scores {
		out.Results = append(out.Results, ranked{i, rankedDocument{Text: sc.texts[i]}, x})
	}
	slices.SortStableFunc(out.Results, func(a, b ranked) int { return cmp.Compare(b.Relevance, a.Relevance) })
	if top > 0 && top < len(out.Results) {
		out.Results = out.Results[:top]
	}
	return out
}

func (sc *scored) tokens() int {
	n := 0
	for _, side := range [][]prompt{sc.left, sc.right} {
		for i := range side {
			n += len(side[i].tokens)
		}
	}
	return n
}

// scoreSides reads both sides, runs them through the engine and compares them.
func (s *Server) scoreSides(r *http.Request, f *fields, names [2]string) (*scored, *fault) {
	sc := &scored{model: f.text("model"), id: "score-" + s.requestID(r, f.text("request_id"))}
	left, right := f.texts(names[0]), f.texts(names[1])
	g := &sampling{truncate: f.int64("truncate_prompt_tokens")}
	priority := priorityOf(r, f.priority())
	if bad := f.fault(); bad != nil {
		return nil, bad
	}
	var bad *fault
	if sc.model, bad = s.checkModel(sc.model); bad != nil {
		return nil, bad
	}
	switch {
	case len(left) == 0:
		return nil, badRequest("", "At least one text element must be given")
	case len(right) == 0:
		return nil, badRequest("", "At least one text_pair element must be given")
	case len(left) != 1 && len(left) != len(right):
		return nil, badRequest("", "Input lengths must be either 1:1, 1:N or N:N")
	}
	if sc.left, bad = s.tokenizeInputs(left, g); bad != nil {
		return nil, bad
	}
	if sc.right, bad = s.tokenizeInputs(right, g); bad != nil {
		return nil, bad
	}
	for i := range right {
		sc.texts = append(sc.texts, right[i].text)
		a, b := embedding(sc.left[min(i, len(left)-1)].hash), embedding(sc.right[i].hash)
		sc.scores = append(sc.scores, dot(a, b))
	}
	return sc, s.encode(r.Context(), slices.Concat(sc.left, sc.right), priority)
}

// texts is a text or a list of them.
func (f *fields) texts(name string) []input {
	at := f.path(name)
	switch v := f.members[name].(type) {
	case nil:
	case string:
		return []input{{text: validText(v), isText: true}}
	case []any:
		out := make([]input, 0, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				f.note(noText(elementAt(at, i), e))
			}
			out = append(out, input{text: validText(s), isText: true})
		}
		return out
	default:
		f.note(noText(at, v))
		f.note(flaw{kind: "dict_type", at: at + ".ScoreMultiModalParam", message: "Input should be a valid dictionary", input: v})
	}
	return nil
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}
