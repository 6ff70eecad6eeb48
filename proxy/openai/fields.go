package openai

import "strconv"

// field reads the value of a top-level member.
func (s *scanner) field(name []byte) error {
	switch string(name) {
	case "model":
		var err error
		s.r.Model, err = s.text("model")
		return err
	case "stream":
		return s.stream()
	case "stream_options":
		return s.streamOptions()
	case "tools", "functions":
		return s.tools()
	case "priority":
		return s.priority()
	}
	switch s.r.Endpoint {
	case Chat, ChatBatch, Messages:
		return s.chatField(name)
	case Completions:
		return s.completionsField(name)
	case Responses:
		return s.responsesField(name)
	default:
		return s.poolingField(name)
	}
}

func (s *scanner) chatField(name []byte) error {
	switch string(name) {
	case "messages":
		s.required = true
		if s.r.Endpoint == ChatBatch {
			return s.batch()
		}
		return s.conversation("messages")
	case "system":
		return s.hashed(s.content)
	case "documents":
		return s.content()
	case "n":
		return s.number("n", 1, &s.n)
	case "max_tokens":
		return s.number("max_tokens", 0, &s.maxTokens)
	case "min_tokens":
		return s.number("min_tokens", 0, &s.r.MinTokens)
	case "max_completion_tokens":
		return s.number("max_completion_tokens", 0, &s.maxCompletion)
	default:
		return s.skip()
	}
}

func (s *scanner) completionsField(name []byte) error {
	switch string(name) {
	case "prompt", "prompt_embeds":
		if s.dec.PeekKind() == 'n' {
			return s.skip()
		}
		s.required = true
		return s.prompt()
	case "suffix":
		return s.content()
	case "n":
		return s.number("n", 1, &s.n)
	case "best_of":
		return s.number("best_of", 1, &s.bestOf)
	case "max_tokens":
		return s.number("max_tokens", 0, &s.maxTokens)
	case "min_tokens":
		return s.number("min_tokens", 0, &s.r.MinTokens)
	default:
		return s.skip()
	}
}

func (s *scanner) responsesField(name []byte) error {
	switch string(name) {
	case "input":
		s.required = true
		if s.dec.PeekKind() == '[' {
			return s.conversation("input")
		}
		return s.content()
	case "instructions":
		return s.hashed(s.content)
	case "max_output_tokens":
		return s.number("max_output_tokens", 0, &s.maxTokens)
	case "background":
		on, err := s.flag("background")
		if err == nil && on {
			return invalid("background", "`background` is not available here: such a response would run outside the queue; leave it out, or stream")
		}
		return err
	default:
		return s.skip()
	}
}

func (s *scanner) poolingField(name []byte) error {
	switch string(name) {
	case "input", "messages", "prompt", "query", "queries", "documents", "text_1", "text_2", "data", "items", "system":
		return s.content()
	default:
		return s.skip()
	}
}

func (s *scanner) stream() error {
	on, err := s.flag("stream")
	// a batch answers in one piece, whatever is asked
	s.r.Stream = on && s.r.Endpoint.Generates() && s.r.Endpoint != ChatBatch
	return err
}

func (s *scanner) streamOptions() error {
	raw, err := s.value()
	if err != nil {
		return err
	}
	if raw[0] != '{' && raw[0] != 'n' {
		return s.wrong("stream_options", "an object")
	}
	asked := 0
	for m, ok := nextMember(raw, 0); ok; m, ok = nextMember(raw, m.valueEnd) {
		if m.is(raw, "include_usage") {
			asked++
			s.r.IncludeUsage = string(raw[m.valueStart:m.valueEnd]) == "true"
		}
	}
	if asked > 1 {
		return invalid("stream_options.include_usage", "the body names `stream_options.include_usage` twice")
	}
	return nil
}

// tools are counted and hashed as they are written.
func (s *scanner) tools() error {
	raw, err := s.value()
	if err != nil || raw[0] == 'n' {
		return err
	}
	s.r.InputBytes += len(raw)
	s.hash.add(raw)
	return nil
}

// hashed reads a value with f and takes its bytes into the prefix's hash.
func (s *scanner) hashed(f func() error) error {
	start := s.valueStart()
	if err := f(); err != nil {
		return err
	}
	s.hash.add(s.body[start:s.dec.InputOffset()])
	return nil
}

// priority is ours to judge, not to complain about: whoever may not set it may
// send anything.
func (s *scanner) priority() error {
	raw, err := s.value()
	if err != nil {
		return err
	}
	if v, err := strconv.ParseInt(string(raw), 10, 32); err == nil {
		s.r.Priority = int(v)
	}
	return nil
}
