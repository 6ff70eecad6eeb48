package vllmsim

import (
	"net/http"
	"unicode/utf8"
)

// sse writes an event stream. Its buffer is reused, so that an event costs no
// allocation.
type sse struct {
	w   http.ResponseWriter
	out *http.ResponseController
	buf []byte
}

func newSSE(w http.ResponseWriter) *sse {
	return &sse{w: w, out: http.NewResponseController(w)}
}

// begin sends the status and the headers, as vLLM does before there is a token.
func (s *sse) begin() {
	s.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	s.w.WriteHeader(http.StatusOK)
	_ = s.out.Flush() // the client is gone otherwise
}

// data appends an event that has no name.
func (s *sse) data(json []byte) {
	s.buf = append(s.buf, "data: "...)
	s.buf = append(s.buf, json...)
	s.buf = append(s.buf, "\n\n"...)
}

func (s *sse) done() { s.buf = append(s.buf, "data: [DONE]\n\n"...) }

// flush sends what is in the buffer.
func (s *sse) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	if err != nil {
		return err
	}
	return s.out.Flush()
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. It must be valid UTF-8.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// validText is s with what is no UTF-8 replaced.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
