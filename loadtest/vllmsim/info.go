package vllmsim

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/expfmt"
)

const (
	vllmVersion = "0.32.0"
	fingerprint = "vllm-" + vllmVersion + "-e0f1a2b3"
)

func (s *Server) health(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, []byte(`{"version":"`+vllmVersion+`"}`))
}

func (s *Server) serverLoad(w http.ResponseWriter, _ *http.Request) {
	answerJSON(w, http.StatusOK, []byte(`{"server_load":`+strconv.FormatInt(s.load.Load(), 10)+`}`))
}

// scrape answers in the only format that vLLM has.
func (s *Server) scrape(w http.ResponseWriter, _ *http.Request) {
	families, err := s.metrics.registry.Gather()
	if err != nil {
		answerFault(w, &fault{status: http.StatusInternalServerError, kind: typeInternal, message: err.Error()})
		return
	}
	var b bytes.Buffer
	enc := expfmt.NewEncoder(&b, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		_ = enc.Encode(f) // a buffer takes everything
	}
	respond(w, "text/plain; version=1.0.0; charset=utf-8", http.StatusOK, b.Bytes())
}

type modelPermission struct {
	ID                 string  `json:"id"`
	Object             string  `json:"object"`
	Created            int64   `json:"created"`
	AllowCreateEngine  bool    `json:"allow_create_engine"`
	AllowSampling      bool    `json:"allow_sampling"`
	AllowLogprobs      bool    `json:"allow_logprobs"`
	AllowSearchIndices bool    `json:"allow_search_indices"`
	AllowView          bool    `json:"allow_view"`
	AllowFineTuning    bool    `json:"allow_fine_tuning"`
	Organization       string  `json:"organization"`
	Group              *string `json:"group"`
	IsBlocking         bool    `json:"is_blocking"`
}

type modelCard struct {
	ID          string            `json:"id"`
	Object      string            `json:"object"`
	Created     int64             `json:"created"`
	OwnedBy     string            `json:"owned_by"`
	Root        string            `json:"root"`
	Parent      *string           `json:"parent"`
	MaxModelLen int               `json:"max_model_len"`
	Permission  []modelPermission `json:"permission"`
}

// models lists the served names; times and permission ids are new with each call.
func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	now := time.Now().Unix()
	list := make([]modelCard, 0, len(s.cfg.Models))
	for _, name := range s.cfg.Models {
		list = append(list, modelCard{
			ID: name, Object: "model", Created: now, OwnedBy: "vllm", Root: s.cfg.Models[0],
			MaxModelLen: s.maxModelLen(),
			Permission: []modelPermission{{
				ID: "modelperm-" + s.newID(), Object: "model_permission", Created: now,
				AllowSampling: true, AllowLogprobs: true, AllowView: true, Organization: "*",
			}},
		})
	}
	answerJSON(w, http.StatusOK, compact(struct {
		Object string      `json:"object"`
		Data   []modelCard `json:"data"`
	}{"list", list}))
}

func (s *Server) maxModelLen() int { return s.loop.cfg.Profile.MaxModelLen }

// newID is a new id of 16 hexadecimal digits, the same at every run.
func (s *Server) newID() string {
	id := mix(s.cfg.Seed, s.ids.Add(1))
	var b [16]byte
	for i := range b {
		b[i] = hexDigits[id>>(60-4*i)&15]
	}
	return string(b[:])
}
