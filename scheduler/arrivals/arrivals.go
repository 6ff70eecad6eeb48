// Package arrivals is the record of what was asked and when: who, how much in and
// how much out, and nothing of any prompt or answer. A simulator replays it under
// another configuration.
//
// A record is one line of JSON with short names, and lines are in about the order
// of arrival; a request is written when it ends, for only then is it known what
// it took. Files may be cut anywhere and put together: a line that is not whole is
// skipped by [Read] if it is the last of its input.
package arrivals

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Arrival is one request. Empty fields are left out.
type Arrival struct {
	At       time.Time `json:"at"` // it was accepted
	User     string    `json:"u"`  // user key: user:<id>, key:<id> or ip:<address>
	ID       string    `json:"id,omitempty"`
	Email    string    `json:"em,omitempty"`
	Roles    []string  `json:"r,omitempty"`
	Groups   []string  `json:"g,omitempty"`
	Key      string    `json:"k,omitempty"`  // id of the API key
	Auth     string    `json:"a,omitempty"`  // jwt, api_key, forwarded, anonymous
	IP       string    `json:"ip,omitempty"` // only where rules look at it
	Pool     string    `json:"p,omitempty"`
	Model    string    `json:"m,omitempty"`
	Endpoint string    `json:"e,omitempty"` // empty: chat
	Task     string    `json:"t,omitempty"`
	Stream   bool      `json:"s,omitempty"`
	Class    string    `json:"c,omitempty"` // that it had

	Sequences int `json:"n,omitempty"` // 0: 1
	Chars     int `json:"ch,omitempty"`
	// Estimate is the input as it was estimated before it ran, in tokens.
	Estimate  int    `json:"est,omitempty"`
	Input     int    `json:"in"` // prompt tokens, of all sequences
	Cached    int    `json:"ca,omitempty"`
	Output    int    `json:"out"`           // generated tokens, of all sequences
	MaxTokens int    `json:"max,omitempty"` // of one sequence; 0: the client set none
	Prefix    uint64 `json:"x,omitempty"`   // prefix group
	Chat      uint64 `json:"cid,omitempty"` // hash of the conversation
	Priority  int    `json:"pr,omitempty"`

	Outcome string        `json:"o,omitempty"` // how it ended
	Wait    time.Duration `json:"w,omitempty"` // until it was granted, in nanoseconds
}

// ErrRecord is what a line that is no record is refused with.
var ErrRecord = errors.New("arrivals: not a record")

// Append adds a record to b, with the end of its line.
func Append(b []byte, a *Arrival) ([]byte, error) {
	line, err := json.Marshal(a)
	if err != nil {
		return b, fmt.Errorf("arrivals: %w", err)
	}
	b = append(b, line...)
	return append(b, '\n'), nil
}

// longestLine bounds one record.
const longestLine = 1 << 20

// Read yields the records of r. It ends with the first error.
func Read(r io.Reader) iter.Seq2[Arrival, error] {
	return func(yield func(Arrival, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(nil, longestLine)
		var bad error
		for n := 1; s.Scan(); n++ {
			if bad != nil { // it was not the last
				yield(Arrival{}, fmt.Errorf("line %d: %w", n-1, bad))
				return
			}
			var a Arrival
			if a, bad = parse(s.Bytes()); bad == nil && !yield(a, nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield(Arrival{}, fmt.Errorf("arrivals: %w", err))
		}
	}
}

func parse(line []byte) (a Arrival, err error) {
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if a.At.IsZero() || a.User == "" {
		return a, fmt.Errorf("%w: it names no time or no user", ErrRecord)
	}
	return a, nil
}
