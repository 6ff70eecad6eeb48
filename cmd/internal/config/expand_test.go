package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	vars := map[string]string{"A": "alpha", "EMPTY": "", "YAML": "x: {y: [", "NESTED": "${A}", "LINES": "one\ntwo"}
	files := map[string]string{"dir/rel": "from file\n", "/abs": "absolute\r\n\n", "dir/${A}": "no"}
	for in, want := range map[string]string{
		"":                                     "",
		"plain $A $$ {A} }":                    "plain $A $$ {A} }",
		"${A}":                                 "alpha",
		"<${A}${A}>":                           "<alphaalpha>",
		"${EMPTY}":                             "",
		"${EMPTY:-other}":                      "other",
		"${UNSET:-}":                           "",
		"${UNSET:-a:-b $ {}":                   "a:-b $ {",
		"${A:-other}":                          "alpha",
		"${NESTED}":                            "${A}",
		"${YAML}":                              "x: {y: [",
		"$${A}":                                "${A}",
		"$$${A}":                               "$${A}",
		"$${${A}":                              "${alpha",
		"${file:rel}":                          "from file",
		"${file:/abs}":                         "absolute",
		"${LINES}":                             "one\ntwo",
		"http://${UNSET:-localhost}:${P1:-80}": "http://localhost:80",
	} {
		r := &reader{dir: "dir", env: environment(t, vars), read: func(path string, _ int) ([]byte, error) {
			if text, ok := files[path]; ok {
				return []byte(text), nil
			}
			return nil, os.ErrNotExist
		}}
		if got, _, err := r.expand(in); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestExpandFails(t *testing.T) {
	for in, want := range map[string]string{
		"${UNSET}":     "${UNSET} is not set",
		"${A":          "without }",
		"a}${":         "without }",
		"${}":          "none of",
		"${1A}":        "none of",
		"${A-b}":       "none of",
		"${A B}":       "none of",
		"${:-x}":       "none of",
		"${file:gone}": "${file:gone}: gone",
	} {
		r := &reader{env: environment(t, nil), read: func(string, int) ([]byte, error) { return nil, errors.New("gone") }}
		got, _, err := r.expand(in)
		if err == nil || got != "" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
}

// What is filled in stays one value, whatever is in it, and has the type of its key.
func TestExpandIsNoYAML(t *testing.T) {
	c := parse(t, `
admin: {tokens: [{name: "${NAME}", token: "${TOKEN}"}]}
pools: [{backends: [{url: "http://${HOST:-gpu}:8000", slots: "${SLOTS}"}], adaptive: "${ADAPTIVE}", cost: {output: "${OUTPUT:-3.5}"}}]
log:
  level: ${LEVEL:-debug}
`, map[string]string{"NAME": "a, role: operator}", "TOKEN": "[*x, &y]: {\n- !z", "SLOTS": "12", "ADAPTIVE": "false"})
	check(t, "token", "[*x, &y]: {\n- !z", c.Admin.Tokens[0].Token)
	check(t, "name", "a, role: operator}", c.Admin.Tokens[0].Name)
	p := c.Pools[0]
	if p.Backends[0].URL != "http://gpu:8000" || p.Backends[0].Slots != 12 || p.Adaptive || p.Cost.Output != 3.5 || c.Log.Level.String() != "DEBUG" {
		t.Errorf("%+v %v", p, c.Log)
	}
}
