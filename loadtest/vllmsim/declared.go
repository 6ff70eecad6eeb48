package vllmsim

import (
	"math"
	"strconv"
	"strings"
)

// What vLLM declares of fields that have no effect here, or that must not be null:
// name:kind, with an exclamation mark where null is refused, and with a minus where
// the field is read elsewhere and only null is looked at.
const (
	declaredSampling = "logit_bias:dict user:text skip_special_tokens:bool! spaces_between_special_tokens:bool! stop_token_ids:ints " +
		"bad_words:texts! add_special_tokens:bool! use_beam_search:bool! min_tokens:-int! ignore_eos:-bool! " +
		"include_stop_str_in_output:-bool! priority:-int! request_id:-text! length_penalty:float!"
	declaredChat = declaredSampling + " echo:-bool! parallel_tool_calls:bool continue_final_message:bool! add_generation_prompt:-bool! " +
		"reasoning_effort:none|minimal|low|medium|high|xhigh|max chat_template_kwargs:dict documents:dicts"
	declaredCompletion = declaredSampling + " n:-int! suffix:text"
	declaredBatch      = "logit_bias:dict user:text use_beam_search:bool! stop_token_ids:ints best_of:int bad_words:texts " +
		"include_stop_str_in_output:-bool! priority:-int! echo:-bool!"
	declaredResponse = "tools:-list! background:bool store:bool metadata:dict user:text truncation:auto|disabled reasoning:model " +
		"service_tier:auto|default|flex|scale|priority! include:list top_logprobs:int parallel_tool_calls:bool priority:-int! request_id:-text! " +
		"previous_response_id:text"
	declaredMessage = "model:-text! messages:-list! max_tokens:-int! metadata:dict stop_sequences:texts thinking:model"
	declaredCount   = "model:-text! messages:-list! thinking:model"
	declaredPooling = "user:text priority:-int! request_id:-text! add_special_tokens:bool! encoding_format:-text! dimensions:-int"
)

// declare checks fields by such a list.
func (f *fields) declare(list string) {
	for part := range strings.FieldsSeq(list) {
		name, kind, _ := strings.Cut(part, ":")
		v, there := f.members[name]
		kind, filled := strings.CutSuffix(kind, "!")
		kind, elsewhere := strings.CutPrefix(kind, "-")
		switch {
		case !there || v == nil && !filled:
		case v == nil:
			f.note(wrongKind(kind, f.path(name), nil))
		case !elsewhere:
			f.checkKind(name, kind, v)
		}
	}
}

func (f *fields) checkKind(name, kind string, v any) {
	switch kind {
	case "int":
		f.optional(name)
	case "float":
		f.float(name, 0)
	case "bool":
		f.flag(name)
	case "text":
		f.text(name)
	case "list":
		f.list(name)
	case "model":
		f.child(name)
	case "dict":
		if _, ok := v.(object); !ok {
			f.note(wrongKind(kind, f.path(name), v))
		}
	case "ints", "texts", "dicts":
		f.checkElements(name, kind)
	default:
		if s, ok := v.(string); !ok || !strings.Contains("|"+kind+"|", "|"+s+"|") {
			f.note(wrongKind(kind, f.path(name), v))
		}
	}
}

func (f *fields) checkElements(name, kind string) {
	for i, e := range f.list(name) {
		at := elementAt(f.path(name), i)
		switch kind {
		case "ints":
			if _, what := toInt(e); what.kind != "" {
				what.at, what.input = at, e
				f.note(what)
			}
		case "texts":
			if _, ok := e.(string); !ok {
				f.note(noText(at, e))
			}
		case "dicts":
			if _, ok := e.(object); !ok {
				f.note(wrongKind("dict", at, e))
			}
		}
	}
}

// wrongKind is what pydantic says of a value of another kind.
func wrongKind(kind, at string, v any) flaw {
	switch kind {
	case "int":
		return flaw{kind: "int_type", at: at, message: "Input should be a valid integer", input: v}
	case "float":
		return flaw{kind: "float_type", at: at, message: "Input should be a valid number", input: v}
	case "bool":
		return flaw{kind: "bool_type", at: at, message: "Input should be a valid boolean", input: v}
	case "text":
		return noText(at, v)
	case "dict":
		return flaw{kind: "dict_type", at: at, message: "Input should be a valid dictionary", input: v}
	case "list", "texts", "ints", "dicts":
		return noList(at, v)
	case "model":
		return noObject(at, v)
	}
	return noLiteral(at, v, strings.Split(kind, "|")...)
}

// noLiteral is a value that is none of these.
func noLiteral(at string, v any, values ...string) flaw {
	last := len(values) - 1
	expected := "'" + strings.Join(values[:last], "', '") + "' or '" + values[last] + "'"
	if last == 0 {
		expected = "'" + values[0] + "'"
	}
	return flaw{
		kind: "literal_error", at: at, message: "Input should be " + expected, input: v,
		context: "{'expected': " + pyQuote(expected) + "}",
	}
}

// int64 is an integer that has to be one of 64 bits, or nil.
func (f *fields) int64(name string) *int {
	n, ok := f.members[name].(number)
	if _, err := strconv.ParseInt(string(n), 10, 64); ok && err != nil && digits(string(n)) == len(n) {
		f.note(flaw{
			kind: "less_than_equal", at: f.path(name), input: n, context: "{'le': 9223372036854775807}",
			message: "Input should be less than or equal to 9223372036854775807",
		})
		return nil
	}
	return f.optional(name)
}

// realNumber is a value that Python compares with numbers.
func realNumber(v any) (float64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case number:
		x, err := strconv.ParseFloat(string(v), 64)
		return x, err == nil || math.IsInf(x, 0)
	}
	return 0, false
}

// pyType is what Python calls the kind of a value.
func pyType(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case string:
		return "str"
	case []any:
		return "list"
	case object:
		return "dict"
	case number:
		if digits(strings.TrimPrefix(string(v), "-")) == len(strings.TrimPrefix(string(v), "-")) {
			return "int"
		}
	}
	return "float"
}
