package vllmsim

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// route is a path with its methods.
type route struct {
	methods []string
	handle  http.HandlerFunc
}

func get(h http.HandlerFunc) route    { return route{[]string{http.MethodGet}, h} }
func posted(h http.HandlerFunc) route { return route{[]string{http.MethodPost}, h} }

// table is the paths of this server. vLLM serves either generation or pooling.
func (s *Server) table() map[string]route {
	t := map[string]route{
		"/health":     get(s.health),
		"/ping":       {[]string{http.MethodGet, http.MethodPost}, s.health},
		"/version":    get(s.version),
		"/load":       get(s.serverLoad),
		"/metrics":    get(s.scrape),
		"/v1/models":  get(s.models),
		"/tokenize":   posted(s.tokenize),
		"/detokenize": posted(s.detokenize),
	}
	if !s.cfg.Pooling {
		s.addGeneration(t)
	}
	if s.cfg.Pooling || s.cfg.Everything {
		s.addPooling(t)
	}
	if s.cfg.Everything {
		t["/classify"] = posted(s.counted(s.classify))
		t["/v1/audio/transcriptions"] = posted(s.counted(s.audio("transcribe")))
		t["/v1/audio/translations"] = posted(s.counted(s.audio("translate")))
	}
	return t
}

func (s *Server) addGeneration(t map[string]route) {
	t["/v1/chat/completions"] = posted(s.counted(s.chat))
	t["/v1/chat/completions/batch"] = posted(s.counted(s.chatBatch))
	t["/v1/completions"] = posted(s.counted(s.completions))
	t["/v1/responses"] = posted(s.counted(s.createResponse))
	t["/v1/messages"] = posted(s.counted(s.createMessage))
	t["/v1/messages/count_tokens"] = posted(s.counted(s.countMessageTokens))
}

func (s *Server) addPooling(t map[string]route) {
	t["/v1/embeddings"] = posted(s.counted(s.embeddings))
	t["/pooling"] = posted(s.counted(s.pooling))
	for _, path := range []string{"/score", "/v1/score"} {
		t[path] = posted(s.counted(s.score))
	}
	for _, path := range []string{"/rerank", "/v1/rerank", "/v2/rerank"} {
		t[path] = posted(s.counted(s.rerank))
	}
}

// find is the route of a path.
func (s *Server) find(path string) (route, bool) {
	if rt, ok := s.routes[path]; ok {
		return rt, true
	}
	id, below := strings.CutPrefix(path, "/v1/responses/")
	if !below || s.cfg.Pooling {
		return route{}, false
	}
	id, cancel := strings.CutSuffix(id, "/cancel")
	switch {
	case id == "" || strings.Contains(id, "/"):
		return route{}, false
	case cancel:
		return posted(s.cancelResponse(id)), true
	}
	return get(s.getResponse(id)), true
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if _, alive := s.loop.state(); !alive {
		panic(http.ErrAbortHandler) // the way net/http offers to close a connection without an answer
	}
	h := w.Header()
	h.Set("Server", "uvicorn")
	h.Set("Vary", "Origin")
	if preflight(w, r) {
		return
	}
	if !s.allowed(r) {
		answerJSON(w, http.StatusUnauthorized, []byte(`{"error":"Unauthorized"}`))
		return
	}
	rt, ok := s.find(r.URL.Path)
	switch {
	case !ok && s.misspelt(w, r):
	case !ok:
		answerFault(w, detailed(http.StatusNotFound, "Not Found"))
	case !slices.Contains(rt.methods, r.Method):
		h.Set("Allow", strings.Join(rt.methods, ", "))
		answerFault(w, detailed(http.StatusMethodNotAllowed, "Method Not Allowed"))
	default:
		rt.handle(w, r)
	}
}

// preflight refuses the question whether another origin may call: CORS is off.
func preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions || r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h := w.Header()
	h.Set("Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers, Access-Control-Request-Private-Network")
	h.Set("Access-Control-Allow-Methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY")
	h.Set("Access-Control-Max-Age", "600")
	if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" {
		h.Set("Access-Control-Allow-Headers", wanted)
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte("Disallowed CORS origin")) // the client is gone otherwise
	return true
}

// allowed checks the key, which guards only what is below these prefixes.
func (s *Server) allowed(r *http.Request) bool {
	if s.cfg.APIKey == "" || r.Method == http.MethodOptions {
		return true
	}
	guarded := slices.ContainsFunc([]string{"/v1", "/v2", "/inference", "/cohere"}, func(prefix string) bool {
		return strings.HasPrefix(r.URL.Path, prefix)
	})
	if !guarded {
		return true
	}
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.EqualFold(scheme, "bearer") && key == s.cfg.APIKey
}

// misspelt sends a client whose path ends in one slash too many to the right one.
func (s *Server) misspelt(w http.ResponseWriter, r *http.Request) bool {
	path, slash := strings.CutSuffix(r.URL.Path, "/")
	if _, ok := s.find(path); !slash || !ok {
		return false
	}
	to := "http://" + r.Host + path
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusTemporaryRedirect)
	return true
}

// counted keeps the number of requests that are being answered, for /load.
func (s *Server) counted(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.load.Add(1)
		defer s.load.Add(-1)
		h(w, r)
	}
}

func answerJSON(w http.ResponseWriter, status int, body []byte) {
	respond(w, "application/json", status, body)
}

func respond(w http.ResponseWriter, kind string, status int, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = bytes.NewReader(body).WriteTo(w) // the client is gone otherwise
}

func answerFault(w http.ResponseWriter, f *fault) { answerJSON(w, f.status, f.openAI()) }
