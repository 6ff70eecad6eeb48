package proxy

import (
	"sync"
	"time"

	"fairlane/proxy/openai"
	"fairlane/scheduler"
)

const (
	firstBytesPerToken = 4.0  // of English text, until a model has shown its own
	learningRate       = 0.05 // weight of one answer in the mean
	imageTokens        = 800  // of an image, where nothing is known of its size
	mostModels         = 1000 // that are remembered
)

// estimates learn how many bytes of a prompt make a token, and how long one of an
// answer takes, by model.
type estimates struct {
	mu    sync.RWMutex
	ratio map[string]float64
	paces map[string]time.Duration
}

func newEstimates() *estimates {
	return &estimates{ratio: map[string]float64{}, paces: map[string]time.Duration{}}
}

func (e *estimates) of(model string) float64 {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if r, ok := e.ratio[model]; ok {
		return r
	}
	return firstBytesPerToken
}

// input is how many tokens the prompts of a request will be, of all its
// sequences that have one of their own.
func (e *estimates) input(model string, r *openai.Request) int {
	return max(1, r.InputTokens+int(float64(r.InputBytes)/e.of(model))+imageTokens*r.Images)
}

// chars is how long the text of a request is in characters. A prompt that came as
// token ids is as long as its tokens usually are.
func (e *estimates) chars(model string, r *openai.Request) int {
	if r.InputTokens == 0 {
		return r.InputChars
	}
	return r.InputChars + int(float64(r.InputTokens)*max(1, e.of(model)))
}

// learn takes what the backend counted. Requests with images or token ids say
// nothing about text.
func (e *estimates) learn(model string, r *openai.Request, u scheduler.Usage) {
	if !u.Known || u.Input <= 0 || r.InputBytes == 0 || r.Images > 0 || r.InputTokens > 0 {
		return
	}
	seen := float64(r.InputBytes) / float64(u.Input)
	if seen < 0.1 || seen > 20 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	old, known := e.ratio[model]
	if !known && len(e.ratio) >= mostModels {
		return
	}
	if !known {
		old = firstBytesPerToken
	}
	e.ratio[model] = old + learningRate*(seen-old)
}
