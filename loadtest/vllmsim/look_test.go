package vllmsim

import (
	"bytes"
	"encoding/json"
	"math"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// form is a request with a file.
func form(t *testing.T, path string, size int, fields map[string]string) request {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if size >= 0 {
		part, err := w.CreateFormFile("file", "a.wav")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = part.Write(make([]byte, size))
	}
	for name, v := range fields {
		_ = w.WriteField(name, v)
	}
	_ = w.Close()
	return request{path: path, body: b.String(), header: map[string]string{"Content-Type": w.FormDataContentType()}}
}

func TestAudioIsCounted(t *testing.T) {
	const path = "/v1/audio/transcriptions"
	inBubble(t, Config{Everything: true}, func(b bubble) {
		t, s := b.T, b.server
		a := form(t, path, 100_000, map[string]string{"model": "emulated"}).on(t, s).decode(t)
		if text, _ := a["text"].(string); text == "" || at(t, a, "usage", "seconds") != 4.0 {
			t.Errorf("%v", a)
		}
		verbose := form(t, path, 100_000, map[string]string{"response_format": "verbose_json"}).on(t, s).decode(t)
		if verbose["text"] != a["text"] || verbose["duration"] != 4.0 {
			t.Errorf("%v", verbose)
		}
		stream := form(t, "/v1/audio/translations", 100_000, map[string]string{"stream": "true", "stream_include_usage": "true"}).on(t, s)
		chunks := deltas(t, stream)
		for _, c := range chunks {
			if c["object"] != "translation.chunk" {
				t.Fatalf("%v", c)
			}
		}
		if text := texts(t, chunks, "content"); text != a["text"] || !strings.HasSuffix(stream.body, "data: [DONE]\n\n") {
			t.Errorf("streamed: %q, whole: %q", text, a["text"])
		}
		for _, tt := range []struct {
			rq     request
			status int
		}{
			{form(t, path, -1, nil), http.StatusBadRequest},
			{form(t, path, 0, nil), http.StatusBadRequest},
			{form(t, path, 10, map[string]string{"model": "nosuch"}), http.StatusNotFound},
			{request{path: path, body: "{}"}, http.StatusBadRequest},
		} {
			if got := tt.rq.on(t, s); got.status != tt.status {
				t.Errorf("%d, not %d: %s", got.status, tt.status, got.body)
			}
		}
	})
}

func TestEmbeddingsAreOfLengthOneAndTheTexts(t *testing.T) {
	inBubble(t, Config{Everything: true}, func(b bubble) {
		t, s := b.T, b.server
		a := request{path: "/v1/embeddings", body: `{"input":["a","b","a"]}`}.on(t, s).decode(t)
		vector := func(i int) (out []float64) {
			for _, x := range at(t, a, "data", i, "embedding").([]any) {
				out = append(out, x.(float64))
			}
			return out
		}
		sum := 0.0
		for _, x := range vector(0) {
			sum += x * x
		}
		if math.Abs(sum-1) > 1e-5 || !cmp.Equal(vector(0), vector(2)) || cmp.Equal(vector(0), vector(1)) {
			t.Errorf("the length is %g", math.Sqrt(sum))
		}
		ranks := request{path: "/v1/rerank", body: `{"query":"b","documents":["a","b","c"]}`}.on(t, s).decode(t)
		if best := at(t, ranks, "results", 0); at(t, best, "index") != 1.0 || at(t, best, "document", "text") != "b" {
			t.Errorf("the best is %v", best)
		}
		scores := request{path: "/score", body: `{"text_1":"b","text_2":["a","b"]}`}.on(t, s).decode(t)
		if x, _ := at(t, scores, "data", 1, "score").(float64); math.Abs(x-1) > 1e-5 {
			t.Errorf("a text is %g like itself", x)
		}
		if a := (request{path: "/classify", body: `{"input":"a"}`}).on(t, s); at(t, a.decode(t), "data", 0, "num_classes") != 2.0 {
			t.Errorf("%s", a.body)
		}
	})
}

func TestAServerEitherGeneratesOrPools(t *testing.T) {
	for _, tt := range []struct {
		name             string
		cfg              Config
		generates, pools bool
	}{
		{"a generator", Config{}, true, false},
		{"a pooler", Config{Pooling: true}, false, true},
		{"everything", Config{Everything: true}, true, true},
	} {
		inBubble(t, tt.cfg, func(b bubble) {
			t, s := b.T, b.server
			if got := chatOf(`,"max_tokens":1`).on(t, s).status == http.StatusOK; got != tt.generates {
				t.Errorf("%s generates: %v", tt.name, got)
			}
			if got := (request{path: "/v1/embeddings", body: `{"input":"a"}`}).on(t, s).status == http.StatusOK; got != tt.pools {
				t.Errorf("%s pools: %v", tt.name, got)
			}
		})
	}
}

func TestResponsesAreKeptIfTheServerIsTold(t *testing.T) {
	rq := request{path: "/v1/responses", body: `{"input":"hi","max_output_tokens":3}`}
	for _, keeps := range []bool{false, true} {
		for _, body := range []string{rq.body, `{"input":"hi","max_output_tokens":3,"stream":true}`} {
			inBubble(t, Config{StoreResponses: keeps}, func(b bubble) {
				t, s := b.T, b.server
				a := request{path: rq.path, body: body}.on(t, s)
				var v map[string]any
				if strings.HasPrefix(a.body, "event") {
					events := deltas(t, a)
					v, _ = events[len(events)-1]["response"].(map[string]any)
				} else {
					v = a.decode(t)
				}
				id, _ := v["id"].(string)
				got := request{path: rq.path + "/" + id}.on(t, s)
				if keeps && (got.status != http.StatusOK || cmp.Diff(v, got.decode(t)) != "") || !keeps && got.status != http.StatusNotFound {
					t.Errorf("kept %v: %d %s", keeps, got.status, got.body)
				}
				cancel := request{method: "POST", path: rq.path + "/" + id + "/cancel"}.on(t, s)
				if want := map[bool]int{false: http.StatusNotFound, true: http.StatusBadRequest}[keeps]; cancel.status != want {
					t.Errorf("kept %v: cancel answers %d %s", keeps, cancel.status, cancel.body)
				}
			})
		}
	}
	st := newResponseStore()
	for i := range mostResponses + 10 {
		st.put(string(rune('a'+i)), []byte("x"))
	}
	if len(st.bodies) != mostResponses || len(st.order) != mostResponses || st.get("a") != nil {
		t.Errorf("%d responses are kept", len(st.bodies))
	}
}

func TestJSONIsJSON(t *testing.T) {
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		for _, format := range []string{
			`"response_format":{"type":"json_object"}`,
			`"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object",` + strings.TrimPrefix(strictTool, `"parameters":{"type":"object",`) + `}}`,
			`"structured_outputs":{"json":{"type":"array","items":{"type":"integer"}}}`,
		} {
			if text := content(t, chatOf(","+format).on(t, s)); !json.Valid([]byte(text)) {
				t.Errorf("%s: %s", format, text)
			}
		}
	})
}
