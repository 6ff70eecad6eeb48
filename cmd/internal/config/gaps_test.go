package config

import (
	"os"
	"strings"
	"testing"

	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
)

func TestDescribeNamesWhomTheRulesLeaveOut(t *testing.T) {
	const tasks, nameless = "No rule asks for a task", "No rule asks for anonymous"
	for _, tt := range []struct {
		name, text     string
		task, nameless bool
	}{
		{"the default rules", "", false, false},
		{"no rules at all", "policy: []", true, true},
		{"others only", "policy: [{when: {group: support}, class: vip}, {when: {anonymous: false}, max_running: 9}]", true, true},
		{"a task", "policy: [{when: {task: [title_generation]}, class: background}]", false, true},
		{"anonymous", "policy: [{when: {anonymous: true}, class: background}]", true, false},
		{"anonymous by auth type", "policy: [{when: {auth_type: [anonymous]}, class: background}]", true, false},
		{"nobody is anonymous", "policy: [{class: vip}]\nidentity: {anonymous: deny}", true, false},
	} {
		var out strings.Builder
		if err := parse(t, tt.text, nil).Describe(&out); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), tasks); got != tt.task {
			t.Errorf("%s: tasks are told of: %v", tt.name, got)
		}
		if got := strings.Contains(out.String(), nameless); got != tt.nameless {
			t.Errorf("%s: anonymous callers are told of: %v", tt.name, got)
		}
	}
}

// The example of the README serves what it says: a person of support first, but not
// the titles of their chats, nor who has no name.
func TestReadmeExample(t *testing.T) {
	text, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## Configuration\n")
	_, rest, _ = strings.Cut(rest, "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("the README has no example")
	}
	p, err := policy.New(parse(t, example, nil).Policy)
	if err != nil {
		t.Fatal(err)
	}
	member := identity.Identity{UserKey: "user:ann", Groups: []string{"support"}}
	chore, nameless := member, identity.Identity{UserKey: "ip:192.0.2.1", Anonymous: true}
	chore.Task = policy.TaskTitle
	for id, want := range map[*identity.Identity]string{&member: "vip", &chore: "background", &nameless: "background"} {
		d, problem := p.Decide(id, &policy.Query{Endpoint: "chat", Sequences: 1})
		if problem != nil || d.Class != want {
			t.Errorf("%+v is %s, want %s: %v", id, d.Class, want, problem)
		}
	}
}
