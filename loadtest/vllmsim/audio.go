package vllmsim

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Audio is counted, not heard: so many bytes are a second, as in 16 kHz of 16 bits,
// and a second is so many tokens, as at Whisper.
const (
	bytesPerSecond  = 32_000
	tokensPerSecond = 50
	wordsPerSecond  = 3
	mostFormMemory  = 32 << 20
)

// audioRequest is a form of /v1/audio.
type audioRequest struct {
	sampling
	prompt  prompt
	task    string
	format  string // response_format
	seconds int
}

func (s *Server) audio(task string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a, f := s.readAudio(w, r)
		if f != nil {
			answerFault(w, f)
			return
		}
		a.task = task
		j := newJob(s.sequences(&a.prompt, &a.sampling, want{}), a.stream)
		id := s.requestID(r, "")
		if a.stream {
			s.streamAudio(r.Context(), w, a, j, id)
			return
		}
		if f := s.finish(r.Context(), j); f != nil {
			answerFault(w, f)
			return
		}
		a.answer(w, j.seqs[0].answer.text(j.seqs[0].output))
	}
}

func (s *Server) readAudio(w http.ResponseWriter, r *http.Request) (*audioRequest, *fault) {
	r.Body = http.MaxBytesReader(w, r.Body, 10*mostFormMemory)
	if err := r.ParseMultipartForm(mostFormMemory); err != nil {
		return nil, flaws{missing("body.file", nil)}.fault()
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }()
	file, _, err := r.FormFile("file")
	if err != nil {
		return nil, flaws{missing("body.file", nil)}.fault()
	}
	defer file.Close()
	var h hashWriter
	n, err := io.Copy(&h, file)
	if err != nil {
		return nil, detailed(http.StatusBadRequest, "There was an error parsing the body")
	}
	a := &audioRequest{format: r.FormValue("response_format"), seconds: int(n/bytesPerSecond) + 1}
	a.sampling = sampling{n: 1, stream: r.FormValue("stream") == "true", withUsage: r.FormValue("stream_include_usage") == "true"}
	var bad *fault
	if a.model, bad = s.checkModel(r.FormValue("model")); bad != nil {
		return nil, bad
	}
	if n == 0 {
		return nil, badRequest("", "Invalid or unsupported audio file.")
	}
	a.maxTokens = new(a.seconds*wordsPerSecond + 1)
	a.priority = priorityOf(r, 0)
	tokens := make([]token, min(a.seconds*tokensPerSecond, s.maxModelLen()/2))
	for i := range tokens {
		tokens[i] = tokenImage
	}
	a.prompt = newPrompt(tokens, strconv.FormatUint(uint64(h), 16), s.loop.cfg.Profile.BlockSize)
	return a, nil
}

// hashWriter hashes what is written to it.
type hashWriter uint64

func (h *hashWriter) Write(p []byte) (int, error) {
	*h = hashWriter(mixString(uint64(*h), string(p)))
	return len(p), nil
}

func (a *audioRequest) answer(w http.ResponseWriter, text string) {
	type audioUsage struct {
		Type    string `json:"type"`
		Seconds int    `json:"seconds"`
	}
	switch a.format {
	case "text":
		answerJSON(w, http.StatusOK, compact(text+"\n"))
	case "verbose_json":
		answerJSON(w, http.StatusOK, compact(struct {
			Duration float64 `json:"duration"`
			Language string  `json:"language"`
			Text     string  `json:"text"`
			Segments []any   `json:"segments"`
			Words    *[]any  `json:"words"`
		}{float64(a.seconds), "en", text, []any{}, nil}))
	default:
		answerJSON(w, http.StatusOK, compact(struct {
			Text  string     `json:"text"`
			Usage audioUsage `json:"usage"`
		}{text, audioUsage{"duration", a.seconds}}))
	}
}

// streamAudio writes chunks like a chat's, without roles.
func (s *Server) streamAudio(ctx context.Context, w http.ResponseWriter, a *audioRequest, j *job, id string) {
	if err := s.admit(ctx, j); err != nil {
		answerFault(w, faultOrGone(err))
		return
	}
	kind, prefix := "transcription.chunk", "trsc-"
	if a.task == "translate" {
		kind, prefix = "translation.chunk", "trsl-"
	}
	out, sent := newSSE(w), 0
	head := chunkHead(prefix+id, kind, a.model)
	q := &j.seqs[0]
	out.begin()
	err := s.loop.follow(ctx, j, func(news []update) error {
		for _, u := range news {
			out.buf = append(out.buf, head...)
			out.buf = append(out.buf, `{"delta":{"content":`...)
			out.buf = appendString(out.buf, q.answer.append(nil, sent, u.generated))
			sent = u.generated
			out.buf = append(out.buf, `},"finish_reason":`...)
			if u.done {
				out.buf = fmt.Appendf(out.buf, `"%s","stop_reason":null`, q.finish)
			} else {
				out.buf = append(out.buf, "null"...)
			}
			out.buf = append(out.buf, "}]}\n\n"...)
		}
		return out.flush()
	})
	if err != nil {
		out.data(faultOrGone(err).spaced())
	} else if a.withUsage {
		out.buf = append(out.buf, head...)
		out.buf = append(out.buf, `],"usage":`...)
		out.buf = append(out.buf, s.appendUsage(nil, j.usage(), false)...)
		out.buf = append(out.buf, "}\n\n"...)
	}
	out.done()
	_ = out.flush() // the client is gone otherwise
}
