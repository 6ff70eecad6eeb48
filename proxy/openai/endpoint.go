package openai

// Endpoint is what a path does. It is what rules, entries and labels call it.
type Endpoint string

// The endpoints that need the GPU and so are queued.
const (
	Chat           Endpoint = "chat"
	ChatBatch      Endpoint = "chat_batch" // many conversations in one request
	Completions    Endpoint = "completions"
	Responses      Endpoint = "responses"
	Messages       Endpoint = "messages" // Anthropic's API
	Embeddings     Endpoint = "embeddings"
	Pooling        Endpoint = "pooling"
	Classify       Endpoint = "classify"
	Rerank         Endpoint = "rerank"
	Score          Endpoint = "score"
	Transcriptions Endpoint = "transcriptions" // multipart, as Translations
	Translations   Endpoint = "translations"
)

// The endpoints that are answered or passed on without a queue.
const (
	Models         Endpoint = "models"
	Model          Endpoint = "model"
	Tokenize       Endpoint = "tokenize"
	Detokenize     Endpoint = "detokenize"
	CountTokens    Endpoint = "count_tokens"
	ResponseGet    Endpoint = "response"
	ResponseCancel Endpoint = "response_cancel"
	Queue          Endpoint = "queue" // ours: what the caller has in the queue
)

// Generates reports whether the endpoint makes tokens, so that max_tokens and
// streams mean something.
func (e Endpoint) Generates() bool {
	switch e {
	case Chat, ChatBatch, Completions, Responses, Messages, Transcriptions, Translations:
		return true
	default:
		return false
	}
}

// RequiresModel reports whether the backend refuses a request that names no
// model, even if it has only one.
func (e Endpoint) RequiresModel() bool { return e == Messages || e == CountTokens }

// Audio reports whether the body is a form with a file.
func (e Endpoint) Audio() bool { return e == Transcriptions || e == Translations }

// reportsUsageIfAsked is true of the streams that take stream_options.
func (e Endpoint) reportsUsageIfAsked() bool { return e == Chat || e == Completions }
