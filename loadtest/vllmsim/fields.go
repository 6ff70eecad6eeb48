package vllmsim

import (
	"math"
	"strconv"
	"strings"
)

// fields reads the members of an object as pydantic does, which takes "3" and 3.0
// for 3, and notes what it cannot read.
type fields struct {
	object
	at  string // where the object is
	bad *flaws
}

// has reports whether a member is there and not null.
func (f *fields) has(name string) bool { return f.members[name] != nil }

// truthy is Python's notion of it.
func (f *fields) truthy(name string) bool {
	switch v := f.members[name].(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case number:
		x, err := strconv.ParseFloat(string(v), 64)
		return err != nil || x != 0
	case []any:
		return len(v) > 0
	case object:
		return len(v.members) > 0
	}
	return true
}

func (f *fields) note(x flaw) { *f.bad = append(*f.bad, x) }

func (f *fields) path(name string) string { return f.at + "." + name }

// optional is an integer, or nil if it is left out or null.
func (f *fields) optional(name string) *int {
	v := f.members[name]
	if v == nil {
		return nil
	}
	i, what := toInt(v)
	if what.kind != "" {
		what.at, what.input = f.path(name), v
		f.note(what)
		return nil
	}
	return &i
}

func (f *fields) integer(name string, otherwise int) int {
	if i := f.optional(name); i != nil {
		return *i
	}
	return otherwise
}

func toInt(v any) (int, flaw) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, flaw{}
		}
		return 0, flaw{}
	case string:
		x, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), ".0"))
		if err != nil {
			return 0, flaw{kind: "int_parsing", message: "Input should be a valid integer, unable to parse string as an integer"}
		}
		return x, flaw{}
	case number:
		if x, err := strconv.Atoi(string(v)); err == nil {
			return x, flaw{}
		}
		x, _ := realNumber(v)
		switch {
		case math.IsNaN(x) || math.IsInf(x, 0):
			return 0, flaw{kind: "finite_number", message: "Input should be a finite number"}
		case x != math.Trunc(x):
			return 0, flaw{kind: "int_from_float", message: "Input should be a valid integer, got a number with a fractional part"}
		}
		return int(max(math.MinInt64, min(x, math.MaxInt64/2))), flaw{}
	}
	return 0, flaw{kind: "int_type", message: "Input should be a valid integer"}
}

// float is a number, or otherwise if it is left out or null.
func (f *fields) float(name string, otherwise float64) float64 {
	switch v := f.members[name].(type) {
	case nil:
	case bool:
		if v {
			return 1
		}
		return 0
	case number:
		x, _ := realNumber(v)
		return x
	case string:
		if x, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
			return x
		}
		f.note(flaw{
			kind: "float_parsing", at: f.path(name), input: v,
			message: "Input should be a valid number, unable to parse string as a number",
		})
	default:
		f.note(flaw{kind: "float_type", at: f.path(name), message: "Input should be a valid number", input: v})
	}
	return otherwise
}

// flag is a bool; null is false.
func (f *fields) flag(name string) bool {
	switch v := f.members[name].(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		switch strings.ToLower(v) {
		case "1", "t", "true", "y", "yes", "on":
			return true
		case "0", "f", "false", "n", "no", "off":
			return false
		}
		f.noBool(name, v)
	case number:
		x, _ := realNumber(v)
		switch _, err := strconv.ParseInt(string(v), 10, 64); {
		case x == 0 || x == 1:
			return x == 1
		case err == nil:
			f.noBool(name, v)
		default:
			f.note(wrongKind("bool", f.path(name), v))
		}
	default:
		f.note(wrongKind("bool", f.path(name), v))
	}
	return false
}

func (f *fields) noBool(name string, v any) {
	f.note(flaw{
		kind: "bool_parsing", at: f.path(name), input: v,
		message: "Input should be a valid boolean, unable to interpret input",
	})
}

// text is a string; null is empty.
func (f *fields) text(name string) string {
	switch v := f.members[name].(type) {
	case nil:
	case string:
		return v
	default:
		f.note(noText(f.path(name), v))
	}
	return ""
}

// list is a list, or nil.
func (f *fields) list(name string) []any {
	switch v := f.members[name].(type) {
	case nil:
	case []any:
		return v
	default:
		f.note(noList(f.path(name), v))
	}
	return nil
}

// child is the fields of an object within, or nil.
func (f *fields) child(name string) *fields {
	switch v := f.members[name].(type) {
	case nil:
	case object:
		return &fields{object: v, at: f.path(name), bad: f.bad}
	default:
		f.note(noObject(f.path(name), v))
	}
	return nil
}

// fault is all that was noted, or nil.
func (f *fields) fault() *fault {
	if len(*f.bad) == 0 {
		return nil
	}
	return f.bad.fault()
}
