package vllmsim

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// tokenize tells the tokens of a text or of a conversation.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	f, bad := readJSON(r)
	if bad == nil {
		var body []byte
		if body, bad = s.tokenized(f); bad == nil {
			answerJSON(w, http.StatusOK, body)
			return
		}
	}
	answerFault(w, bad)
}

func (s *Server) tokenized(f *fields) ([]byte, *fault) {
	model := f.text("model")
	tokens := f.tokens(s.maxModelLen() * bytesPerToken)
	f.declare("add_special_tokens:bool!")
	strings := f.flag("return_token_strs")
	if bad := f.fault(); bad != nil {
		return nil, bad
	}
	if _, bad := s.checkModel(model); bad != nil {
		return nil, bad
	}
	var names []string
	if strings {
		for _, t := range tokens {
			names = append(names, t.text())
		}
	}
	return compact(struct {
		Count  int             `json:"count"`
		MaxLen int             `json:"max_model_len"`
		Tokens json.RawMessage `json:"tokens"`
		Names  []string        `json:"token_strs"`
	}{len(tokens), s.maxModelLen(), appendTokens32(nil, tokens), names}), nil
}

func (f *fields) tokens(limit int) []token {
	if f.members["messages"] != nil {
		ts := f.readTools()
		generate := f.members["add_generation_prompt"] == nil || f.flag("add_generation_prompt")
		return render(readMessages(f.list("messages"), f.path("messages"), f.bad), ts.prompt(), generate, limit)
	}
	switch p := f.members["prompt"].(type) {
	case string:
		return appendTokens(nil, validText(p), limit)
	case nil:
		f.note(missing(f.path("prompt"), f.object))
	default:
		f.note(noText(f.path("prompt"), p))
	}
	f.note(missing(f.path("messages"), f.object))
	return nil
}

func (s *Server) detokenize(w http.ResponseWriter, r *http.Request) {
	f, bad := readJSON(r)
	if bad == nil {
		var body []byte
		if body, bad = s.detokenized(f); bad == nil {
			answerJSON(w, http.StatusOK, body)
			return
		}
	}
	answerFault(w, bad)
}

func (s *Server) detokenized(f *fields) ([]byte, *fault) {
	model := f.text("model")
	f.declare("tokens:-list!")
	if _, there := f.members["tokens"]; !there {
		f.note(missing(f.path("tokens"), f.object))
	}
	var tokens []token
	for i, e := range f.list("tokens") {
		n, what := toInt(e)
		if what.kind != "" {
			what.at, what.input = elementAt(f.path("tokens"), i), e
			f.note(what)
		}
		if n < 0 || n > 0xffffffff {
			return nil, badRequest("", fmt.Sprintf("Token id %d is out of vocabulary", n))
		}
		tokens = append(tokens, token(n))
	}
	if bad := f.fault(); bad != nil {
		return nil, bad
	}
	if _, bad := s.checkModel(model); bad != nil {
		return nil, bad
	}
	return compact(map[string]string{"prompt": validText(joinTokens(tokens))}), nil
}
