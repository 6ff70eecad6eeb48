package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fairlane/cmd/internal/cli"
	"fairlane/proxy/admin"
	"fairlane/proxy/limit/quota"
)

// running is `fairlane serve` in this process.
type running struct {
	t           *testing.T
	file        string // its configuration
	edge, admin string
}

// serving starts one, which ends with the test.
func serving(t *testing.T, config string) *running {
	t.Helper()
	dir := t.TempDir()
	s := &running{t: t, file: filepath.Join(dir, "fairlane.yaml")}
	text := fmt.Sprintf("listen: 127.0.0.1:0\ndata_dir: %q\n%s", filepath.Join(dir, "data"), config)
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, signal := context.WithCancel(t.Context())
	var out, complaints screen
	w := &cli.World{Ctx: ctx, Stdout: &out, Stderr: &complaints, Getenv: func(string) (string, bool) { return "", false }}
	code := make(chan int, 1)
	go func() { code <- command().Run(w, []string{"serve", "--config", s.file}) }()
	t.Cleanup(func() {
		signal()
		if c := <-code; c != 0 {
			t.Errorf("ends with %d:\n%s", c, &complaints)
		}
	})
	s.edge, s.admin = out.shows(t, `edge +(\S+)/v1`), out.shows(t, `admin +(\S+)`)
	return s
}

// asks sends one small chat of somebody, and answers its status.
func (s *running) asks(who string) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.edge+"/v1/chat/completions", strings.NewReader(`{"messages":[{"role":"user","content":"hi"}],"max_tokens":3}`))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, value := range map[string]string{"Content-Type": "application/json", "X-OpenWebUI-User-Id": who, "X-OpenWebUI-User-Email": who + "@example.com", "X-OpenWebUI-User-Name": strings.ToUpper(who)} {
		req.Header.Set(name, value)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// run runs a command on its admin port, and checks how it ends and what it says.
func (s *running) run(want int, says string, args ...string) string {
	s.t.Helper()
	code, out, complaints := try(s.t, nil, append(args, "--admin", s.admin, "-c", s.file)...)
	if said := out + complaints; code != want || !regexp.MustCompile(says).MatchString(said) {
		s.t.Errorf("%q ends with %d, and does not say %s:\n%s", args, code, says, said)
	}
	return out
}

const guarded = "admin: {listen: 127.0.0.1:0, tokens: [{name: wall, token: seen, role: viewer}, {name: ops, token: sesame, role: operator}]}\n" +
	"policy: [{limits: 1000/minute}]\n"

// TestQuotas are read and changed at the admin port of a server that runs.
func TestQuotas(t *testing.T) {
	s := serving(t, guarded)
	s.asks("alice")
	s.run(0, `(?s)user:alice@example.com \(ALICE\).*requests +1000/minute +\d+ of 1000 +\S+ +policy\[0\]`, "quota", "get", "alice@example.com")
	s.run(0, `Not seen lately`, "quota", "get", "nobody")

	s.run(0, `user:alice may send 5/minute from now on`, "quota", "set", "alice", "5/minute")
	s.run(0, `user:alice:heavy may send 1/minute`, "quota", "set", "alice", "1/minute", "--size", "heavy")
	s.run(0, `group:R&D may send 9 per hour for 2h`, "quota", "boost", "group:R&D", "9 per hour", "2h")
	s.run(0, `key:ci may send`, "quota", "set", "key:ci", "5/second; 100/hour burst 20")
	s.run(0, `requests +5/minute +\d of 5 .*rate_limit:user:alice\n`, "quota", "get", "alice")
	listed := s.run(0, `user:alice:heavy +1/minute`, "quota", "list")
	for _, want := range []string{`group:R&D +9 per hour +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d`, `user:alice +5/minute`, `key:ci +5/second; 100/hour burst 20`} {
		if !regexp.MustCompile(want).MatchString(listed) {
			t.Errorf("no %s in\n%s", want, listed)
		}
	}

	s.run(0, `user:alice has what the rules say again`, "quota", "unset", "alice")
	s.run(0, `user:alice:heavy has`, "quota", "unset", "alice", "--size", "heavy")
	s.run(0, `requests +1000/minute`, "quota", "get", "alice")
	changes := s.run(0, `WHEN +WHO +WHAT`, "quota", "audit")
	rows := strings.Split(strings.TrimSpace(changes), "\n")
	if len(rows) != 7 || !strings.Contains(rows[1], `"5/minute"`) || !strings.Contains(rows[6], "user:alice:heavy") || !strings.Contains(rows[6], "ops") {
		t.Errorf("the audit is\n%s", changes)
	}
	if rows = strings.Split(strings.TrimSpace(s.run(0, "user:alice:heavy", "quota", "audit", "--last", "1")), "\n"); len(rows) != 2 {
		t.Errorf("%q", rows)
	}
}

// TestWrongQuotas change nothing, and say what is wrong and where.
func TestWrongQuotas(t *testing.T) {
	s := serving(t, guarded)
	const refused, misused = 1, 2
	for says, args := range map[string][]string{
		`"5/week", character 3: expected`:     {"quota", "set", "alice", "5/week"},
		`"1.5/minute", character 2: expected`: {"quota", "set", "alice", "1.5/minute"},
		`"0/minute", character 1: expected`:   {"quota", "boost", "alice", "0/minute", "1h"},
		`planet`:                              {"quota", "set", "planet:mars", "5/minute"},
		`last is a number`:                    {"quota", "audit", "--last", "0"},
		`403 `:                                {"quota", "set", "alice", "5/minute", "--token", "seen"},
		`401 `:                                {"quota", "list", "--token", "guess"},
	} {
		if out := s.run(refused, says, args...); out != "" {
			t.Errorf("%q prints %s", args, out)
		}
	}
	for says, args := range map[string][]string{
		`<for>: expected duration but got "soon"`: {"quota", "boost", "alice", "5/minute", "soon"},
		`--size must be one of .*"huge"`:          {"quota", "set", "alice", "5/minute", "--size", "huge"},
		`expected "<limits>"`:                     {"quota", "set", "alice"},
	} {
		s.run(misused, says, args...)
	}
	s.run(0, `^WHO +LIMITS +UNTIL *\n$`, "quota", "list")
	for says, place := range map[string]string{
		`the admin port does not answer, see --admin`: "http://127.0.0.1:1",
		`see --admin`:     "gpu-box",
		`404|see --admin`: s.edge,
	} {
		code, _, complaints := try(t, nil, "quota", "list", "--admin", place)
		if code == 0 || !regexp.MustCompile(says).MatchString(complaints) {
			t.Errorf("%s: %d %s", place, code, complaints)
		}
	}
}

// TestRefused lists who was refused by a server that runs.
func TestRefused(t *testing.T) {
	s := serving(t, strings.Replace(guarded, "1000/minute", "2/hour", 1))
	s.run(0, `Nobody was refused in the last 1h`, "refused")
	const times = 5
	for range times {
		s.asks("bob")
	}
	for range times - 1 {
		s.asks("ann")
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var list admin.RefusedList
	for len(list.Users) < 2 {
		if err := json.Unmarshal([]byte(s.run(0, "window", "refused", "--json", "--token", "seen")), &list); err != nil {
			t.Fatal(err)
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("nobody is listed")
		}
	}
	s.run(0, `(?s)^REFUSED IN 1h +WHO.*\n3 +user:bob@example.com +BOB +\S+ +2/hour.*\n2 +user:ann@example.com`, "refused")
	if out := s.run(0, "bob", "refused", "--top", "1"); strings.Contains(out, "ann") {
		t.Errorf("one is asked for:\n%s", out)
	}
	s.run(1, `n has to be a number`, "refused", "--top", "0")
	if got := shown("\x1b[2Jbob\n"); strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("a name can move the cursor: %q", got)
	}
	if _, out, _ := try(t, nil, "refused", "--help"); !strings.Contains(out, "last hour") || !strings.Contains(out, "--top") {
		t.Errorf("its help is\n%s", out)
	}
}

// TestFollowed: beside where a limit comes from stands what is written and what the
// load makes of it.
func TestFollowed(t *testing.T) {
	for want, b := range map[string]quota.BucketStatus{
		"": {Limits: "20/minute"},
		", 0.55 times 20/minute as written, for the load": {Limits: "11/minute", Written: "20/minute", Factor: 1 - 0.9*0.5},
		", 2 times 20/minute as written, for the load":    {Limits: "40/minute", Written: "20/minute", Factor: 2},
	} {
		if got := followed(&b); got != want {
			t.Errorf("%+v: %q, expected %q", b, got, want)
		}
	}
}
