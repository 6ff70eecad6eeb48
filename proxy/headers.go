package proxy

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// toBackend is what goes to a backend of the client's headers: neither who it
// is nor what it holds. It is a copy: net/http keeps the values of all headers in one
// piece, and who waits would hold the others too.
func toBackend(from http.Header) http.Header {
	return pick(from, "Content-Type", "Accept", "Traceparent", "Tracestate")
}

// fromBackend copies what a client may have use of.
func fromBackend(to, from http.Header) {
	for _, name := range [...]string{"Content-Type", "Content-Language", "Content-Disposition", "Openai-Processing-Ms", "Retry-After"} {
		if v := from[name]; len(v) > 0 {
			to[name] = v
		}
	}
}

func pick(from http.Header, names ...string) http.Header {
	out := make(http.Header, len(names))
	for _, name := range names {
		if v := from[name]; len(v) > 0 {
			out[name] = slices.Clone(v)
		}
	}
	return out
}

// levelNames are the headers of a kind of limit.
type levelNames struct{ limit, remaining, reset string }

// limitHeaders tell of the tightest limits in force, as OpenAI does.
func limitHeaders(h http.Header, a Allowance) {
	levelHeaders(h, levelNames{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"}, a.Requests)
	levelHeaders(h, levelNames{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"}, a.Tokens)
}

func levelHeaders(h http.Header, names levelNames, l *Level) {
	if l == nil {
		return
	}
	values := []string{strconv.FormatInt(l.Limit, 10), strconv.FormatInt(max(0, l.Remaining), 10), l.Reset.Round(time.Millisecond).String()}
	h[names.limit], h[names.remaining], h[names.reset] = values[0:1:1], values[1:2:2], values[2:3:3]
}

// cors says which pages of other origins may call.
type cors struct {
	all     bool
	origins []string
}

func newCORS(origins []string) cors {
	return cors{all: slices.Contains(origins, "*"), origins: origins}
}

func (c cors) knows(origin string) bool {
	return origin != "" && (c.all || slices.Contains(c.origins, origin))
}

// allow lets a page of a known origin read the answer.
func (c cors) allow(h http.Header, r *http.Request) {
	if len(c.origins) == 0 {
		return
	}
	h.Add("Vary", "Origin")
	if !c.knows(r.Header.Get("Origin")) {
		return
	}
	h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	h.Set("Access-Control-Expose-Headers", "X-Request-Id, X-Fairlane-Class, X-Fairlane-Queue-Position, X-Fairlane-Wait-Ms, Retry-After, X-Should-Retry, "+
		"X-Ratelimit-Limit-Requests, X-Ratelimit-Remaining-Requests, X-Ratelimit-Reset-Requests, X-Ratelimit-Limit-Tokens, X-Ratelimit-Remaining-Tokens, X-Ratelimit-Reset-Tokens")
}

// preflight answers a browser that asks whether a page of a known origin may
// call. It carries no credential. False: it was no such question.
func (c cors) preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" || !c.knows(r.Header.Get("Origin")) {
		return false
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST, HEAD, OPTIONS")
	h.Set("Access-Control-Max-Age", "600")
	if asked := strings.Join(r.Header["Access-Control-Request-Headers"], ", "); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	return true
}
