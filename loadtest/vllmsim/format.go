package vllmsim

import (
	"net/http"
	"slices"
)

// checkFormat is what vLLM says of response_format before it reads it.
func checkFormat(f *fields) *fault {
	o, ok := f.members["response_format"].(object)
	if ok && o.members["type"] == "json_schema" && o.members["json_schema"] == nil {
		return badParameter("response_format",
			"When response_format type is 'json_schema', the 'json_schema' field must be provided.")
	}
	return nil
}

// format is the JSON that an answer has to be, if any: a schema, or any object.
type format struct {
	json    bool
	schema  any
	literal string // one of structured_outputs.choice
}

// readFormat reads response_format, and structured_outputs beside it.
func (f *fields) readFormat() (format, *fault) {
	if v := f.members["structured_outputs"]; v != nil {
		o, ok := v.(object)
		if !ok {
			return format{}, &fault{
				status: http.StatusInternalServerError, kind: typeInternal, message: "'" + pyType(v) + "' object has no attribute 'get'",
			}
		}
		so := &fields{object: o, at: f.path("structured_outputs"), bad: f.bad}
		if !slices.ContainsFunc([]string{"json", "regex", "choice", "grammar", "json_object", "structural_tag"}, so.has) {
			return format{}, noConstraint()
		}
		if schema := so.members["json"]; schema != nil {
			return format{json: true, schema: schema}, nil
		}
		if list := so.list("choice"); len(list) > 0 {
			return format{literal: pyText(list[0])}, nil
		}
	}
	rf := f.child("response_format")
	if rf == nil {
		if v := f.members["response_format"]; v != nil { // vLLM tries two forms more
			f.note(noObject(f.path("response_format"), v))
			f.note(noObject(f.path("response_format"), v))
		}
		return format{}, nil
	}
	switch kind := rf.text("type"); kind {
	case "json_object":
		return format{json: true}, nil
	case "json_schema":
		js := rf.child("json_schema")
		if js == nil {
			return format{}, nil
		}
		return schemaFormat(js.members["schema"])
	case "text", "structural_tag":
	default:
		f.note(noLiteral(rf.path("type"), kind, "text", "json_object", "json_schema"))
	}
	return format{}, nil
}

func schemaFormat(schema any) (format, *fault) {
	o, ok := schema.(object)
	if !ok {
		return format{}, noConstraint()
	}
	known := []string{"string", "integer", "number", "boolean", "null", "array", "object"}
	if kind, ok := o.members["type"].(string); ok && !slices.Contains(known, kind) {
		return format{}, badRequest("", "Grammar error: Invalid type: "+kind)
	}
	return format{json: true, schema: schema}, nil
}

func noConstraint() *fault {
	return badRequest("", "You must use one kind of structured outputs constraint but none are specified: "+
		"{'json': None, 'regex': None, 'choice': None, 'grammar': None, 'json_object': None, 'disable_any_whitespace': False, "+
		"'disable_additional_properties': False, 'whitespace_pattern': None, 'structural_tag': None, '_backend': None, "+
		"'_backend_was_auto': False}")
}

// want is an answer of this format.
func (fm format) want(seed uint64) want {
	switch {
	case fm.literal != "":
		return want{fixed: fm.literal}
	case fm.json && fm.schema == nil:
		return want{fixed: instanceOf(anyObject(), seed)}
	case fm.json:
		return want{fixed: instanceOf(fm.schema, seed)}
	}
	return want{}
}

// anyObject is the schema of the object that json_object gets.
func anyObject() object {
	text := object{names: []string{"type"}, members: map[string]any{"type": "string"}}
	properties := object{names: []string{"answer"}, members: map[string]any{"answer": text}}
	return object{names: []string{"properties"}, members: map[string]any{"properties": properties}}
}
