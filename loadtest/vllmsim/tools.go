package vllmsim

import (
	"fmt"
	"strings"
)

// tool is a function that the model may call.
type tool struct {
	name   string
	schema any
	raw    object // as the client described it
}

// call is an answer that is a tool call: where in its text the name is complete,
// and where the arguments are.
type call struct {
	name     string
	named    int
	from, to int
}

// want is what an answer has to be; the zero value is words.
type want struct {
	fixed string
	call  *call
}

// The values of tool_choice; named stands for one function by name.
const (
	choiceNone     = "none"
	choiceAuto     = "auto"
	choiceRequired = "required"
	choiceNamed    = "named"
)

// toolset is the tools of a request and whether to call one.
type toolset struct {
	tools  []tool
	choice string
	name   string // with choiceNamed
}

// wantCall is the answer that calls a tool, in the form that Qwen's models write.
func wantCall(t tool, seed uint64) want {
	const begin, middle, end = "<tool_call>\n{\"name\": ", `, "arguments": `, "}\n</tool_call>"
	text := string(appendString([]byte(begin), []byte(t.name)))
	c := &call{name: t.name, named: len(text)}
	c.from = c.named + len(middle)
	text += middle + instanceOf(t.schema, mixString(seed, t.name))
	c.to = len(text)
	return want{fixed: text + end, call: c}
}

// pick is the answer that the tools make necessary, if they do.
func (ts *toolset) pick(last message, seed uint64) (want, bool) {
	for i, t := range ts.tools {
		switch ts.choice {
		case choiceRequired:
			return wantCall(ts.tools[int(seed%uint64(len(ts.tools)))], seed), true //nolint:gosec // below a length
		case choiceNamed:
			if t.name == ts.name {
				return wantCall(ts.tools[i], seed), true
			}
		case choiceAuto:
			if last.role == "user" && t.name != "" && strings.Contains(last.text, t.name) {
				return wantCall(t, seed), true
			}
		}
	}
	return want{}, false
}

// prompt is the tools as the template shows them to the model.
func (ts *toolset) prompt() string {
	if len(ts.tools) == 0 {
		return ""
	}
	b := []byte("# Tools")
	for _, t := range ts.tools {
		b = append(b, '\n')
		b = appendValue(b, t.raw)
	}
	return string(b)
}

// readTools reads a chat's tools.
func (f *fields) readTools() toolset {
	var ts toolset
	for i, e := range f.list("tools") {
		at := elementAt(f.path("tools"), i)
		o, ok := e.(object)
		if !ok {
			f.note(noObject(at, e))
			continue
		}
		fn := (&fields{object: o, at: at, bad: f.bad}).required("function")
		if fn == nil {
			continue
		}
		if _, ok := fn.members["name"]; !ok {
			f.note(missing(fn.path("name"), fn.object))
		}
		ts.tools = append(ts.tools, tool{name: fn.text("name"), schema: fn.members["parameters"], raw: o})
	}
	ts.choice = choiceNone
	if len(ts.tools) > 0 {
		ts.choice = choiceAuto
	}
	switch c := f.members["tool_choice"].(type) {
	case string:
		ts.choice = c
	case object:
		fn, _ := c.members["function"].(object) // checkTools has looked at it
		ts.choice = choiceNamed
		ts.name, _ = fn.members["name"].(string)
	}
	return ts
}

// required is an object that has to be there.
func (f *fields) required(name string) *fields {
	if _, ok := f.members[name]; !ok {
		f.note(missing(f.path(name), f.object))
	}
	return f.child(name)
}

// checkTools is what vLLM says of tools and tool_choice before it reads them.
func checkTools(f *fields) *fault {
	list, isList := f.members["tools"].([]any)
	if isList && len(list) == 0 {
		return badParameter("tools", "`tools` must not be an empty array. Either provide at least one tool or omit the field entirely.")
	}
	choice := f.members["tool_choice"]
	if choice == nil || choice == choiceNone {
		return nil
	}
	if !f.has("tools") {
		return badParameter("tool_choice", "When using `tool_choice`, `tools` must be set.")
	}
	switch c := choice.(type) {
	case object:
		return checkNamed(c, list)
	case string:
		if c == choiceAuto || c == choiceRequired {
			return nil
		}
	}
	return badParameter("tool_choice", fmt.Sprintf("Invalid value for `tool_choice`: %s! "+
		`Only named tools, "none", "auto" or "required" are supported.`, pyText(choice)))
}

func checkNamed(choice object, tools []any) *fault {
	const usage = "Correct usage: `{\"type\": \"function\", \"function\": {\"name\": \"my_function\"}}`"
	fn, ok := choice.members["function"].(object)
	if !ok {
		return badParameter("tool_choice.function", fmt.Sprintf("Invalid value for `function`: `%s` in `tool_choice`! %s",
			pyText(choice.members["function"]), usage))
	}
	name, ok := fn.members["name"]
	if !ok {
		return badParameter("tool_choice.function.name", "Expected field `name` in `function` in `tool_choice`! "+usage)
	}
	if s, ok := name.(string); !ok || s == "" {
		return badParameter("tool_choice.function.name", fmt.Sprintf("Invalid `name` in `function`: `%s` in `tool_choice`! %s",
			pyText(name), usage))
	}
	for _, t := range tools {
		o, _ := t.(object) // the zero value matches nothing
		fn, _ := o.members["function"].(object)
		if fn.members["name"] == name {
			return nil
		}
	}
	return badParameter("tool_choice", "The tool specified in `tool_choice` does not match any of the specified `tools`")
}
