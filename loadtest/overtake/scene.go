package overtake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"fairlane/loadtest/client"
)

// Config is the scene.
type Config struct {
	Base   string // base URL without /v1
	Model  string // empty: the server's only one
	Flood  int    // requests of the flood
	Tokens int    // output of each
	Client *http.Client
	// Waiting reads how many requests wait at the server; nil: it can't be told.
	Waiting func(context.Context) (int, error)
}

// Answer is what a person got.
type Answer struct {
	Status     int
	FirstToken time.Duration // from asking to the first content
	Whole      time.Duration
	Class      string
	Err        error
}

// Result is how it went.
type Result struct {
	VIP       Answer
	Turnover  time.Duration // median time of one of the flood's requests on the GPU
	FloodDone int           // of the flood, when the VIP's first token came
	Flood     int
	Took      time.Duration
}

// Scene is one run.
type Scene struct {
	cfg  Config
	done atomic.Int64
	mu   sync.Mutex
	gpu  []time.Duration
}

// New makes a scene.
func New(cfg Config) *Scene {
	if cfg.Client == nil {
		cfg.Client = client.New(1024)
	}
	return &Scene{cfg: cfg}
}

// Done is how many of the flood's requests are answered.
func (s *Scene) Done() int { return int(s.done.Load()) }

// Flood sends the flood and returns when all of it is answered, or ctx ends.
func (s *Scene) Flood(ctx context.Context, p client.Person) {
	var wg sync.WaitGroup
	for range s.cfg.Flood {
		wg.Go(func() {
			a := s.Ask(ctx, p)
			if a.Err != nil || a.Status != http.StatusOK {
				return
			}
			s.done.Add(1)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.gpu = append(s.gpu, a.Whole-a.FirstToken)
		})
	}
	wg.Wait()
}

// Turnover is the median time that a request of the flood spent on the GPU
// after its first token; 0: none is answered yet.
func (s *Scene) Turnover() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return median(s.gpu)
}

// Ask sends one streaming chat and reads its answer.
func (s *Scene) Ask(ctx context.Context, p client.Person) Answer {
	start := time.Now()
	resp, err := s.send(ctx, p)
	if err != nil {
		return Answer{Err: err}
	}
	defer resp.Body.Close()
	a := Answer{Status: resp.StatusCode, Class: resp.Header.Get("X-Fairlane-Class")}
	if resp.StatusCode != http.StatusOK {
		a.Err = client.Refusal(resp)
		return a
	}
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if a.FirstToken == 0 && content(lines.Bytes()) {
			a.FirstToken = time.Since(start)
		}
	}
	a.Whole, a.Err = time.Since(start), lines.Err()
	return a
}

func (s *Scene) send(ctx context.Context, p client.Person) (*http.Response, error) {
	request := map[string]any{
		"stream": true, "max_tokens": s.cfg.Tokens, "ignore_eos": true,
		"messages": client.Chat("Tell me about queues, " + p.Name + "."),
	}
	if s.cfg.Model != "" {
		request["model"] = s.cfg.Model
	}
	return client.Post(ctx, s.cfg.Client, s.cfg.Base+"/v1/chat/completions", p, request)
}

// content reports whether a line of the stream carries text.
func content(line []byte) bool {
	data, ok := bytes.CutPrefix(line, []byte("data: "))
	if !ok || !bytes.Contains(data, []byte(`"content"`)) {
		return false
	}
	var chunk struct {
		Choices []struct {
			Delta struct {
				Content string `json:"content"`
			} `json:"delta"`
		} `json:"choices"`
	}
	return json.Unmarshal(data, &chunk) == nil && len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != ""
}
