package proxy

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestALongBodyIsCopiedSeldom: a body of known length ends in memory of that size, and
// what was reserved before is not much.
func TestALongBodyIsCopiedSeldom(t *testing.T) {
	const mb = 1 << 20
	for _, tt := range []struct {
		length int  // bytes
		known  bool // to the edge
		most   int  // bytes that may be reserved in the end
	}{
		{3 * mb, true, 3*mb + spare},
		{30 * mb, true, 30*mb + spare},
		{mb + spare, true, mb + 2*spare},
		{3 * mb, false, 8 * mb},
	} {
		f := newFakes()
		r := httptest.NewRequest(http.MethodPost, chatPath, bytes.NewReader(make([]byte, tt.length)))
		if !tt.known {
			r.Body, r.ContentLength = io.NopCloser(r.Body), -1
		}
		s := f.server(t, Config{MaxBody: 32 * mb, MaxBytes: 64 * mb})
		x := s.begin(httptest.NewRecorder(), r)
		body, p := x.readBody()
		if p != nil || len(body) != tt.length {
			t.Fatalf("%+v: %v, %d bytes", tt, p, len(body))
		}
		if cap(body) > tt.most {
			t.Errorf("%+v: %d bytes are reserved", tt, cap(body))
		}
		if held := s.held.held.Load(); held > int64(tt.most) || held < int64(tt.length)-spare {
			t.Errorf("%+v: %d bytes are counted", tt, held)
		}
	}
}
