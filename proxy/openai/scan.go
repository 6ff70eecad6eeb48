package openai

import (
	"bytes"
	"io"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// maxCount bounds the numbers of a request, so that their products fit.
const maxCount = math.MaxInt32

// defaultCompletion is what /v1/completions generates at most if nothing is said.
const defaultCompletion = 16

// The fields of the top level, and of a message or a part of one.
const (
	maxFields = 256
	maxInner  = 32
)

// span is a part of the body.
type span struct{ start, end int }

// scanner reads a JSON body token by token.
type scanner struct {
	r    *Request
	dec  *jsontext.Decoder
	body []byte

	n, bestOf, prompts int
	maxTokens          int // negative: not set
	maxCompletion      int // the same; it wins
	messages           int
	task               string // the beginning of a user's message that looks like a background task
	hash               hash
	first              hash   // of the first message of a user
	required           bool   // the endpoint's main field was there
	nameStart          int    // of the member that is being read
	names              []span // of the objects that are being read, the innermost last
}

func newScanner(r *Request) *scanner {
	// A bytes.Buffer is read in place, without a copy.
	// It does not look for names that come twice: what it keeps for that of an
	// object with millions of them is ten times the body. See scanner.unique.
	dec := jsontext.NewDecoder(bytes.NewBuffer(r.body), jsontext.AllowDuplicateNames(true))
	return &scanner{r: r, dec: dec, body: r.body, n: 1, bestOf: 1, maxTokens: -1, maxCompletion: -1}
}

func (s *scanner) run() error {
	if len(bytes.TrimSpace(s.body)) == 0 {
		return invalid("", "the body is empty")
	}
	if kind := s.dec.PeekKind(); kind != '{' && kind != jsontext.KindInvalid {
		return invalid("", "the body has to be a JSON object")
	}
	if err := s.object(maxFields, s.topLevel); err != nil {
		return err
	}
	s.r.end = int(s.dec.InputOffset()) - 1
	if _, err := s.dec.ReadToken(); err != io.EOF { //nolint:errorlint // the decoder returns it bare
		return invalid("", "something follows the JSON object, at byte "+s.at())
	}
	return s.conclude()
}

// conclude works out what depends on several fields.
func (s *scanner) conclude() error {
	if name := requiredField(s.r.Endpoint); name != "" && !s.required {
		return invalid(name, "`"+name+"` is missing")
	}
	s.r.Sequences = max(s.n, s.bestOf) * max(s.prompts, 1)
	s.r.MaxTokens = s.maxTokens
	if s.maxCompletion >= 0 {
		s.r.MaxTokens = s.maxCompletion
	}
	switch {
	case s.r.MaxTokens == 0:
		s.r.MaxTokens = 1
	case s.r.MaxTokens < 0 && s.r.Endpoint == Completions:
		s.r.MaxTokens = defaultCompletion
	default:
		s.r.MaxTokens = max(0, s.r.MaxTokens)
	}
	s.r.PrefixHash = s.hash.sum()
	if s.first.some && s.r.Endpoint != ChatBatch {
		head := s.hash
		head.add(nil)
		head.mix(s.first.sum())
		s.r.HeadHash = head.sum()
	}
	if s.messages == 1 && !s.r.Stream {
		s.r.TaskPrompt = s.task
	}
	return nil
}

func requiredField(e Endpoint) string {
	switch e {
	case Chat, ChatBatch, Messages:
		return "messages"
	case Responses:
		return "input"
	case Completions:
		return "prompt"
	default:
		return ""
	}
}

// object reads an object and calls f for the value of each member, which f has
// to read. It may have as many as most. The name is valid until f reads.
func (s *scanner) object(most int, f func(name []byte) error) error {
	if err := s.token(); err != nil {
		return err
	}
	outer := len(s.names)
	for s.dec.PeekKind() != '}' {
		name, err := s.value()
		if err != nil {
			return err
		}
		end := int(s.dec.InputOffset())
		s.nameStart = end - len(name)
		name = unquote(name)
		if err := s.unique(outer, most, name); err != nil {
			return err
		}
		s.names = append(s.names, span{s.nameStart, end})
		if err := f(name); err != nil {
			return err
		}
	}
	s.names = s.names[:outer]
	return s.token()
}

// unique refuses a name that comes a second time in the innermost object: the
// backend would take the last, and somebody else the first. What lies in
// values that mean nothing to us is not looked at.
func (s *scanner) unique(outer, most int, name []byte) error {
	before := s.names[outer:]
	if len(before) >= most {
		return invalid("", "an object has more than "+strconv.Itoa(most)+" fields, at byte "+s.at())
	}
	for _, n := range before {
		if bytes.Equal(name, unquote(s.body[n.start:n.end])) {
			param := pointer(s.dec.StackPointer())
			return invalid(param, "the body names `"+param+"` twice, at byte "+s.at())
		}
	}
	return nil
}

// at is where the reading is, for who looks for a fault.
func (s *scanner) at() string { return strconv.FormatInt(s.dec.InputOffset(), 10) }

// array reads an array and calls f for each element.
func (s *scanner) array(f func() error) error {
	if err := s.token(); err != nil {
		return err
	}
	for s.dec.PeekKind() != ']' {
		if err := f(); err != nil {
			return err
		}
	}
	return s.token()
}

func (s *scanner) token() error {
	if _, err := s.dec.ReadToken(); err != nil {
		return s.syntax(err)
	}
	return nil
}

// value reads any value and returns its bytes, valid until the next read.
func (s *scanner) value() ([]byte, error) {
	raw, err := s.dec.ReadValue()
	if err != nil {
		return nil, s.syntax(err)
	}
	return raw, nil
}

func (s *scanner) skip() error {
	_, err := s.value()
	return err
}

// unquote is the text of a JSON string.
func unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	plain, err := jsontext.AppendUnquote(nil, raw)
	if err != nil {
		return raw // the decoder has accepted it, so it can be unquoted
	}
	return plain
}

func (s *scanner) topLevel(name []byte) error {
	m := member{nameStart: s.nameStart, nameEnd: int(s.dec.InputOffset())}
	m.valueStart = s.valueStart()
	err := s.field(name)
	m.valueEnd = int(s.dec.InputOffset())
	s.r.members = append(s.r.members, m)
	return err
}

// valueStart is where the value begins whose name was just read.
func (s *scanner) valueStart() int {
	return skipSpace(s.body, skipSpace(s.body, int(s.dec.InputOffset()))+1)
}

func (s *scanner) text(name string) (string, error) {
	raw, err := s.value()
	switch {
	case err != nil:
		return "", err
	case raw[0] == 'n':
		return "", nil
	case raw[0] != '"':
		return "", s.wrong(name, "a string")
	}
	return string(unquote(raw)), nil
}

func (s *scanner) flag(name string) (bool, error) {
	raw, err := s.value()
	if err != nil {
		return false, err
	}
	switch raw[0] {
	case 't':
		return true, nil
	case 'f', 'n':
		return false, nil
	default:
		return false, s.wrong(name, "true or false")
	}
}

// number reads a whole number of at least low into n; null leaves it.
func (s *scanner) number(name string, low int, n *int) error {
	raw, err := s.value()
	if err != nil || raw[0] == 'n' {
		return err
	}
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || v != math.Trunc(v) {
		return s.wrong(name, "a whole number")
	}
	if v < float64(low) || v > maxCount {
		return s.wrong(name, "a number from "+strconv.Itoa(low)+" to "+strconv.Itoa(maxCount))
	}
	*n = int(v)
	return nil
}
