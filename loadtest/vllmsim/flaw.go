package vllmsim

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// flaw is one thing that is wrong with a field's form, as pydantic tells it.
type flaw struct {
	kind, at, message string
	input             any
	context           string // a Python dict; "": none
}

type flaws []flaw

// mostFlaws is how many are told.
const mostFlaws = 10

func (fs flaws) fault() *fault {
	var b strings.Builder
	label := "error"
	if len(fs) > 1 {
		label = "errors"
	}
	fmt.Fprintf(&b, "%d validation %s:", len(fs), label)
	for _, f := range fs[:min(len(fs), mostFlaws)] {
		b.WriteString("\n  " + f.String())
	}
	if more := len(fs) - mostFlaws; more > 0 {
		fmt.Fprintf(&b, "\n  ...and %d more %s", more, label)
	}
	return validation(fs[0].at, b.String())
}

// String is the flaw as a Python dict.
func (f flaw) String() string {
	out := "{'type': " + pyQuote(f.kind) + ", 'loc': " + pyQuote(f.at) + ", 'msg': " + pyQuote(f.message) +
		", 'input': " + pyQuote(pySummary(f.input))
	if f.context != "" {
		out += ", 'ctx': " + f.context
	}
	return out + "}"
}

func (e *syntaxError) fault() *fault {
	return flaws{{
		kind: "json_invalid", at: "body." + strconv.Itoa(e.at), message: "JSON decode error",
		input: object{}, context: "{'error': " + pyQuote(e.message) + "}",
	}}.fault()
}

func validation(param, message string) *fault {
	return &fault{status: http.StatusBadRequest, kind: typeValidation, message: message, param: param}
}

func missing(at string, in any) flaw {
	return flaw{kind: "missing", at: at, message: "Field required", input: in}
}

func noObject(at string, in any) flaw {
	return flaw{
		kind: "model_attributes_type", at: at, input: in,
		message: "Input should be a valid dictionary or object to extract fields from",
	}
}

func noList(at string, in any) flaw {
	return flaw{kind: "list_type", at: at, message: "Input should be a valid list", input: in}
}

func noText(at string, in any) flaw {
	return flaw{kind: "string_type", at: at, message: "Input should be a valid string", input: in}
}

// pySummary is a value within an error, kept short.
func pySummary(v any) string {
	const most = 200
	switch v := v.(type) {
	case object:
		return fmt.Sprintf("<dict of %d items>", len(v.members))
	case []any:
		return fmt.Sprintf("<list of %d items>", len(v))
	}
	s := []rune(pyText(v))
	if len(s) > most {
		return string(s[:most]) + "...[truncated]"
	}
	return string(s)
}

// pyText is str(v).
func pyText(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return v
	case number:
		if pyType(v) == "int" {
			return string(v)
		}
		f, _ := realNumber(v)
		return pyFloat(f)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = pyRepr(e)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case object:
		parts := make([]string, len(v.names))
		for i, name := range v.names {
			parts[i] = pyQuote(name) + ": " + pyRepr(v.members[name])
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// pyRepr is repr(v).
func pyRepr(v any) string {
	if s, ok := v.(string); ok {
		return pyQuote(s)
	}
	return pyText(v)
}

// pyFloat is a float as Python writes it.
func pyFloat(f float64) string {
	s := strconv.FormatFloat(f, 'g', -1, 64)
	switch s {
	case "NaN":
		return "nan"
	case "+Inf":
		return "inf"
	case "-Inf":
		return "-inf"
	}
	if a := max(f, -f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// pyQuote is the repr of a string.
func pyQuote(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	out := []byte{quote}
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			out = append(out, '\\')
			out = utf8.AppendRune(out, r)
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r < ' ' || r == 0x7f:
			out = fmt.Appendf(out, `\x%02x`, r)
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return string(append(out, quote))
}
