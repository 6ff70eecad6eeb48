package vllmsim

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestTokensAreTheirText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := strings.ReplaceAll(rapid.String().Draw(t, "text"), "\x00", "")
		ts := appendTokens(nil, text, math.MaxInt)
		if got := joinTokens(ts); got != text {
			t.Fatalf("%q comes back as %q", text, got)
		}
		if least := (len(text) + bytesPerToken - 1) / bytesPerToken; len(ts) < least || len(ts) > len(text) {
			t.Fatalf("%d bytes are %d tokens", len(text), len(ts))
		}
		for _, tok := range ts {
			if s := tok.text(); s == "" || !utf8.ValidString(s) {
				t.Fatalf("token %d is %q", tok, s)
			}
		}
	})
}

func TestTokenizeAndDetokenize(t *testing.T) {
	inBubble(t, Config{}, func(b bubble) {
		t, s := b.T, b.server
		a := request{path: "/tokenize", body: `{"prompt":"grüß dich, Welt"}`}.on(t, s).decode(t)
		tokens, err := json.Marshal(a["tokens"])
		if err != nil {
			t.Fatal(err)
		}
		back := request{path: "/detokenize", body: `{"tokens":` + string(tokens) + `}`}.on(t, s).decode(t)
		if back["prompt"] != "grüß dich, Welt" {
			t.Errorf("%v by way of %s", back, tokens)
		}
		chat := request{path: "/tokenize", body: "{" + hello + "}"}.on(t, s).decode(t)
		prompt, _ := tokensOf(t, chatOf(`,"max_tokens":1`).on(t, s))
		if chat["count"] != float64(prompt) {
			t.Errorf("%v tokens by /tokenize, %d by usage", chat["count"], prompt)
		}
	})
}

// What is generated does not depend on the pieces in which it is read.
func TestAnAnswerIsTheSameInPieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := answer{seed: rapid.Uint64().Draw(t, "seed"), shown: rapid.IntRange(-1, 60).Draw(t, "shown")}
		if rapid.Bool().Draw(t, "fixed") {
			a.fixed = rapid.StringN(1, 40, -1).Draw(t, "text")
		}
		n := rapid.IntRange(1, 20).Draw(t, "tokens")
		var pieces []byte
		for from := 0; from < n; {
			to := rapid.IntRange(from+1, n).Draw(t, "to")
			pieces = a.append(pieces, from, to)
			from = to
		}
		if got := a.text(n); got != string(pieces) {
			t.Fatalf("%q in pieces, %q in one", pieces, got)
		}
	})
}

// normal is a value of the parser as encoding/json decodes it.
func normal(v any) any {
	switch v := v.(type) {
	case number:
		return json.Number(v)
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			out = append(out, normal(e))
		}
		return out
	case object:
		out := map[string]any{}
		for name, e := range v.members {
			out[name] = normal(e)
		}
		if len(out) != len(v.names) {
			return fmt.Sprintf("%d names for %d members", len(v.names), len(out))
		}
		return out
	}
	return v
}

func FuzzParseJSON(f *testing.F) {
	for _, s := range []string{
		`{"a":[1,2.5e-3,-0,"x\u00e9\n\ud83d\ude00",null,true]}`, `{"a":1,"a":2}`, `[[]]`, `"\ud800"`, `{"a":1,}`, `01`, ` 1 `, `"\x"`, `1.`, `-`, `[1 2]`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// Python reads these, and lone surrogates; the standard library does not, or differently.
		if !utf8.ValidString(s) || strings.Contains(s, "NaN") || strings.Contains(s, "Infinity") || strings.Contains(s, `\u`) {
			return
		}
		var want any
		dec := json.NewDecoder(strings.NewReader(s))
		dec.UseNumber()
		valid := json.Valid([]byte(s)) && dec.Decode(&want) == nil
		got, err := parseJSON(s)
		if valid != (err == nil) {
			t.Fatalf("%q: %v", s, err)
		}
		if err != nil {
			if n := utf8.RuneCountInString(s); err.at < 0 || err.at > n || err.message == "" {
				t.Fatalf("%q: %+v of %d", s, err, n)
			}
			return
		}
		if d := cmp.Diff(want, normal(got)); d != "" {
			t.Fatalf("%q:\n%s", s, d)
		}
		if again, err := parseJSON(string(appendValue(nil, got))); err != nil || cmp.Diff(normal(got), normal(again)) != "" {
			t.Fatalf("%q is written as %s", s, appendValue(nil, got))
		}
	})
}

func TestPythonsNotation(t *testing.T) {
	for _, tt := range []struct {
		json, repr string
	}{
		{`1`, `1`},
		{`1.0`, `1.0`},
		{`1e3`, `1000.0`},
		{`1e22`, `1e+22`},
		{`0.00001`, `1e-05`},
		{`-3.50`, `-3.5`},
		{`NaN`, `nan`},
		{`-Infinity`, `-inf`},
		{`true`, `True`},
		{`null`, `None`},
		{`"it's"`, `"it's"`},
		{`"it's \"so\""`, `'it\'s "so"'`},
		{`"a\nb\\"`, `'a\nb\\'`},
		{`"\u0001"`, `'\x01'`},
		{`[1,"a",{"b":false}]`, `[1, 'a', {'b': False}]`},
	} {
		v, err := parseJSON(tt.json)
		if err != nil {
			t.Fatalf("%s: %+v", tt.json, err)
		}
		if got := pyRepr(v); got != tt.repr {
			t.Errorf("%s is %s, not %s", tt.json, got, tt.repr)
		}
	}
}

// fits says whether a value is one of a schema, as far as instances go.
func fits(schema map[string]any, v any) error {
	if e, ok := schema["enum"].([]any); ok {
		if !slices.ContainsFunc(e, func(x any) bool { return cmp.Equal(x, v) }) {
			return fmt.Errorf("%v is not in %v", v, e)
		}
		return nil
	}
	switch schema["type"] {
	case "string":
		s, ok := v.(string)
		least, most := limits(schema, "minLength", "maxLength")
		if !ok || len(s) < least || len(s) > most {
			return fmt.Errorf("%q of %v", v, schema)
		}
	case "integer":
		x, ok := v.(float64)
		least, most := limits(schema, "minimum", "maximum")
		if !ok || x != math.Trunc(x) || int(x) < least || int(x) > most {
			return fmt.Errorf("%v of %v", v, schema)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return fmt.Errorf("%v of %v", v, schema)
		}
	case "array":
		list, ok := v.([]any)
		least, most := limits(schema, "minItems", "maxItems")
		if !ok || len(list) < least || len(list) > most {
			return fmt.Errorf("%v of %v", v, schema)
		}
		for _, e := range list {
			if err := fits(schema["items"].(map[string]any), e); err != nil {
				return err
			}
		}
	case "object":
		o, ok := v.(map[string]any)
		if !ok {
			return fmt.Errorf("%v of %v", v, schema)
		}
		for name, p := range schema["properties"].(map[string]any) {
			if err := fits(p.(map[string]any), o[name]); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func limits(schema map[string]any, low, high string) (least, most int) {
	most = math.MaxInt
	if x, ok := schema[low].(float64); ok {
		least = int(x)
	} else if low == "minimum" {
		least = math.MinInt
	}
	if x, ok := schema[high].(float64); ok {
		most = int(x)
	}
	return least, most
}

func drawSchema(t *rapid.T, depth int) map[string]any {
	bounded := func(s map[string]any, low, high string) map[string]any {
		a := rapid.IntRange(0, 9).Draw(t, low)
		switch rapid.IntRange(0, 3).Draw(t, "bounds") {
		case 1:
			s[low] = float64(a)
		case 2:
			s[high] = float64(a)
		case 3:
			s[low], s[high] = float64(a), float64(a+rapid.IntRange(0, 5).Draw(t, high))
		}
		return s
	}
	kinds := []string{"string", "integer", "boolean", "enum", "array", "object"}
	if depth == 0 {
		kinds = kinds[:4]
	}
	switch kind := rapid.SampledFrom(kinds).Draw(t, "kind"); kind {
	case "enum":
		return map[string]any{"enum": []any{"a", 5.0, nil, []any{true}}}
	case "string":
		return bounded(map[string]any{"type": kind}, "minLength", "maxLength")
	case "integer":
		return bounded(map[string]any{"type": kind}, "minimum", "maximum")
	case "array":
		return bounded(map[string]any{"type": kind, "items": drawSchema(t, depth-1)}, "minItems", "maxItems")
	case "object":
		properties := map[string]any{}
		for i := range rapid.IntRange(0, 3).Draw(t, "properties") {
			properties[fmt.Sprintf("p\"%d", i)] = drawSchema(t, depth-1)
		}
		return map[string]any{"type": kind, "properties": properties}
	default:
		return map[string]any{"type": kind}
	}
}

func TestAnInstanceFitsItsSchema(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schema := drawSchema(t, 3)
		b, err := json.Marshal(schema)
		if err != nil {
			t.Fatal(err)
		}
		parsed, bad := parseJSON(string(b))
		if bad != nil {
			t.Fatalf("%s: %+v", b, bad)
		}
		out := instanceOf(parsed, rapid.Uint64().Draw(t, "seed"))
		var v any
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Fatalf("%s is no JSON: %v", out, err)
		}
		if err := fits(schema, v); err != nil {
			t.Fatalf("%s of %s: %v", out, b, err)
		}
	})
}

func TestASchemaThatRefersToItselfEnds(t *testing.T) {
	const schema = `{"$defs":{"node":{"type":"object","properties":{"name":{"type":"string"},"next":{"$ref":"#/$defs/node"},` +
		`"or":{"anyOf":[{"type":"null"},{"type":"string"}]}}}},"$ref":"#/$defs/node"}`
	v, bad := parseJSON(schema)
	if bad != nil {
		t.Fatal(bad)
	}
	var out struct{ Name, Or *string }
	if err := json.Unmarshal([]byte(instanceOf(v, 1)), &out); err != nil || out.Name == nil || out.Or != nil {
		t.Errorf("%v: %s", err, instanceOf(v, 1))
	}
}
