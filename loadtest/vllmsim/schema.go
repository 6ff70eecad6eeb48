package vllmsim

import (
	"strconv"
	"strings"
)

// deepestSchema is where an instance of a schema that refers to itself ends.
const deepestSchema = 12

// instance appends a value that a JSON schema allows, as far as it uses the common
// words: type, properties, items, enum, const, anyOf, $ref and the bounds.
type instance struct {
	root object
	seed uint64
	n    uint64 // values so far
}

// instanceOf is an instance of a schema as JSON. What is no schema is {}.
func instanceOf(schema any, seed uint64) string {
	o, ok := schema.(object)
	if !ok {
		return "{}"
	}
	in := instance{root: o, seed: seed}
	return string(in.append(nil, o, 0))
}

func (in *instance) draw() uint64 {
	in.n++
	return mix(in.seed, in.n)
}

func (in *instance) append(dst []byte, schema object, depth int) []byte {
	if depth > deepestSchema {
		return append(dst, "null"...)
	}
	schema = in.resolve(schema)
	if c, ok := schema.members["const"]; ok {
		return appendValue(dst, c)
	}
	if e, ok := schema.members["enum"].([]any); ok && len(e) > 0 {
		return appendValue(dst, e[in.draw()%uint64(len(e))])
	}
	switch in.kind(schema) {
	case "string":
		return appendString(dst, in.text(schema))
	case "integer", "number":
		return strconv.AppendInt(dst, in.integer(schema), 10)
	case "boolean":
		return strconv.AppendBool(dst, in.draw()&1 == 1)
	case "null":
		return append(dst, "null"...)
	case "array":
		return in.list(dst, schema, depth)
	}
	return in.object(dst, schema, depth)
}

// resolve follows a reference within the schema, and takes the first choice.
func (in *instance) resolve(schema object) object {
	for range deepestSchema {
		if ref, ok := schema.members["$ref"].(string); ok {
			schema = in.lookUp(ref)
			continue
		}
		next, ok := firstOf(schema, "anyOf", "oneOf", "allOf")
		if !ok {
			break
		}
		schema = next
	}
	return schema
}

func firstOf(schema object, names ...string) (object, bool) {
	for _, name := range names {
		if list, ok := schema.members[name].([]any); ok && len(list) > 0 {
			o, ok := list[0].(object)
			return o, ok
		}
	}
	return object{}, false
}

func (in *instance) lookUp(ref string) object {
	at := in.root
	for part := range strings.SplitSeq(strings.TrimPrefix(strings.TrimPrefix(ref, "#"), "/"), "/") {
		next, ok := at.members[part].(object)
		if !ok {
			return at
		}
		at = next
	}
	return at
}

func (in *instance) kind(schema object) string {
	switch t := schema.members["type"].(type) {
	case string:
		return t
	case []any:
		if len(t) > 0 {
			s, _ := t[0].(string) // "": an object
			return s
		}
	}
	return ""
}

// bound is a numeric word of the schema.
func bound(schema object, otherwise int, names ...string) int {
	for _, name := range names {
		if v, ok := schema.members[name]; ok {
			if x, f := toInt(v); f.kind == "" {
				return x
			}
		}
	}
	return otherwise
}

func (in *instance) integer(schema object) int64 {
	low := bound(schema, 0, "minimum", "exclusiveMinimum")
	high := bound(schema, low+100, "maximum", "exclusiveMaximum")
	if high <= low+1 {
		return int64(low)
	}
	span := uint64(high - low - 1)                //nolint:gosec // positive by the line above
	return int64(low) + 1 + int64(in.draw()%span) //nolint:gosec // below span, which was an int
}

// text is a word or two, within the bounds of its length.
func (in *instance) text(schema object) []byte {
	least, most := bound(schema, 0, "minLength"), bound(schema, 1<<10, "maxLength")
	a := answer{seed: in.draw(), shown: -1}
	n := max(least, min(int(a.seed%3)+1, 3)*bytesPerToken-1)
	b := a.append(nil, 0, n/bytesPerToken+2)[1:]
	return b[:min(len(b), n, most)]
}

func (in *instance) list(dst []byte, schema object, depth int) []byte {
	items, _ := schema.members["items"].(object) // none: anything goes
	n := max(bound(schema, 0, "minItems"), min(2, bound(schema, 2, "maxItems")))
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = in.append(dst, items, depth+1)
	}
	return append(dst, ']')
}

func (in *instance) object(dst []byte, schema object, depth int) []byte {
	properties, _ := schema.members["properties"].(object) // none: an empty object
	dst = append(dst, '{')
	for i, name := range properties.names {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = appendString(dst, []byte(validText(name)))
		dst = append(dst, ": "...)
		p, _ := properties.members[name].(object) // true or false: anything goes
		dst = in.append(dst, p, depth+1)
	}
	return append(dst, '}')
}
