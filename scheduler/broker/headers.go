package broker

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"fairlane/scheduler"
)

// Headers of an entry. Fl-V is the version of the protocol: this build reads
// its own, the one before, and the one after, of which it ignores what it does
// not know.
const (
	headVersion     = "Fl-V"
	headProxy       = "Fl-Proxy"
	headMode        = "Fl-Mode"
	headPool        = "Fl-Pool"
	headModel       = "Fl-Model"
	headEndpoint    = "Fl-Endpoint"
	headPath        = "Fl-Path"
	headStream      = "Fl-Stream"
	headClass       = "Fl-Class"
	headGroup       = "Fl-Group"
	headUser        = "Fl-User"
	headUserWeight  = "Fl-User-Weight"
	headMaxRunning  = "Fl-Max-Running"
	headMaxQueued   = "Fl-Max-Queued"
	headPriority    = "Fl-Priority"
	headAcceptedAt  = "Fl-Accepted-At" // unix nanoseconds
	headDeadline    = "Fl-Deadline"
	headSequences   = "Fl-Sequences"
	headInput       = "Fl-Input-Tokens"
	headMaxTokens   = "Fl-Max-Tokens" //nolint:gosec // tokens of a language model
	headPrefixGroup = "Fl-Prefix-Group"
	headChat        = "Fl-Chat"

	mostHeaders = 24 // of an entry, with the message id
)

// Errors of an entry that can't be read.
var (
	ErrVersion   = errors.New("the entry is of an unknown version of the protocol")
	ErrMalformed = errors.New("the entry is malformed")
)

// encodeEntry writes an entry as headers. Empty and zero fields are left out.
func encodeEntry(e *scheduler.Entry) (nats.Header, error) {
	if err := checkEntry(e); err != nil {
		return nil, err
	}
	h := make(nats.Header, mostHeaders)
	values := make([]string, 0, mostHeaders) // in one piece: there are many, and each has one
	set := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	set(headVersion, strconv.Itoa(scheduler.ProtocolVersion))
	set(nats.MsgIdHdr, e.ID)
	set(headProxy, e.Proxy)
	set(headMode, string(e.Mode))
	set(headPool, e.Pool)
	set(headClass, e.Class)
	for _, s := range textFields(e) {
		if *s.value != "" {
			set(s.name, escape(*s.value))
		}
	}
	for _, n := range numberFields(e) {
		if *n.value != 0 {
			set(n.name, strconv.Itoa(*n.value))
		}
	}
	for _, t := range timeFields(e) {
		if !t.value.IsZero() {
			set(t.name, strconv.FormatInt(t.value.UnixNano(), 10))
		}
	}
	if e.Stream {
		set(headStream, "1")
	}
	if e.UserWeight != 0 {
		set(headUserWeight, strconv.FormatFloat(e.UserWeight, 'g', -1, 64))
	}
	if e.PrefixGroup != 0 {
		set(headPrefixGroup, strconv.FormatUint(e.PrefixGroup, 16))
	}
	return h, nil
}

// decodeEntry reads what encodeEntry wrote, here or in a build one version away.
func decodeEntry(h nats.Header) (*scheduler.Entry, error) {
	v, err := strconv.Atoi(h.Get(headVersion))
	if err != nil || v < scheduler.ProtocolVersion-1 || v < 1 || v > scheduler.ProtocolVersion+1 {
		return nil, fmt.Errorf("%w: %.20q, this build speaks %d", ErrVersion, h.Get(headVersion), scheduler.ProtocolVersion)
	}
	r := reader{h: h}
	e := &scheduler.Entry{
		ID: h.Get(nats.MsgIdHdr), Proxy: h.Get(headProxy), Mode: scheduler.Mode(h.Get(headMode)),
		Pool: h.Get(headPool), Class: h.Get(headClass), Stream: h.Get(headStream) == "1",
	}
	for _, s := range textFields(e) {
		*s.value = r.text(s.name)
	}
	for _, n := range numberFields(e) {
		*n.value = r.number(n.name)
	}
	for _, t := range timeFields(e) {
		*t.value = r.time(t.name)
	}
	e.UserWeight = r.weight(headUserWeight)
	e.PrefixGroup = r.hex(headPrefixGroup)
	if r.err == nil {
		r.err = checkEntry(e)
	}
	if r.err != nil {
		return nil, r.err
	}
	return e, nil
}

type field[T any] struct {
	name  string
	value *T
}

func textFields(e *scheduler.Entry) [6]field[string] {
	return [...]field[string]{
		{headModel, &e.Model},
		{headEndpoint, &e.Endpoint},
		{headPath, &e.Path},
		{headGroup, &e.Group},
		{headUser, &e.User},
		{headChat, &e.Chat},
	}
}

func numberFields(e *scheduler.Entry) [6]field[int] {
	return [...]field[int]{
		{headMaxRunning, &e.MaxRunning},
		{headMaxQueued, &e.MaxQueued},
		{headPriority, &e.Priority},
		{headSequences, &e.Sequences},
		{headInput, &e.InputTokens},
		{headMaxTokens, &e.MaxTokens},
	}
}

func timeFields(e *scheduler.Entry) [2]field[time.Time] {
	return [...]field[time.Time]{{headAcceptedAt, &e.AcceptedAt}, {headDeadline, &e.Deadline}}
}

// checkEntry refuses what could not be found again, or would poison the queue.
func checkEntry(e *scheduler.Entry) error {
	switch {
	case !validID(e.ID):
		return fmt.Errorf("%w: id %.40q", ErrMalformed, e.ID)
	case !validID(e.Proxy):
		return fmt.Errorf("%w: proxy %.40q", ErrMalformed, e.Proxy)
	case !validName(e.Pool), !validName(e.Class):
		return fmt.Errorf("%w: pool %.40q, class %.40q", ErrMalformed, e.Pool, e.Class)
	case e.Mode != scheduler.ModeSync && e.Mode != scheduler.ModeAsync && e.Mode != scheduler.ModeAttach:
		return fmt.Errorf("%w: mode %.40q", ErrMalformed, e.Mode)
	case math.IsNaN(e.UserWeight) || math.IsInf(e.UserWeight, 0) || e.UserWeight < 0:
		return fmt.Errorf("%w: user weight %v", ErrMalformed, e.UserWeight)
	case min(e.Sequences, e.InputTokens, e.MaxTokens, e.MaxRunning, e.MaxQueued) < 0:
		return fmt.Errorf("%w: a negative count", ErrMalformed)
	}
	return nil
}

// reader keeps the first error, so that a caller asks once.
type reader struct {
	h   nats.Header
	err error
}

func (r *reader) fail(name string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s is %.40q", ErrMalformed, name, r.h.Get(name))
	}
}

func (r *reader) text(name string) string {
	s, err := url.PathUnescape(r.h.Get(name))
	if err != nil {
		r.fail(name)
	}
	return s
}

func (r *reader) number(name string) int {
	s := r.h.Get(name)
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		r.fail(name)
	}
	return n
}

func (r *reader) time(name string) time.Time {
	s := r.h.Get(name)
	if s == "" {
		return time.Time{}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		r.fail(name)
	}
	return time.Unix(0, n)
}

func (r *reader) weight(name string) float64 {
	s := r.h.Get(name)
	if s == "" {
		return 0
	}
	w, err := strconv.ParseFloat(s, 64)
	if err != nil {
		r.fail(name)
	}
	return w
}

func (r *reader) hex(name string) uint64 {
	s := r.h.Get(name)
	if s == "" {
		return 0
	}
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		r.fail(name)
	}
	return n
}

// escape keeps what is visible ASCII, so that people can read it, and writes
// every other byte, and the escape itself, as %XX: a newline in a user's name
// must not become a header.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	plain := func(c byte) bool { return c > ' ' && c < 0x7f && c != '%' }
	i := 0
	for i < len(s) && plain(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	var b strings.Builder
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
		if c := s[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
