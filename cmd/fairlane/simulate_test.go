package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSimulate(t *testing.T) {
	page := filepath.Join(t.TempDir(), "report.html")
	const workloads = "../../loadtest/workloads/"
	code, out, complaints := try(t, nil, "simulate", "--workload", workloads+"mixed-day.yaml", "--duration", "10m", "--seeds", "2", "--html", page,
		"--config", workloads+"configs/today.yaml", "--config", workloads+"configs/sales-4.yaml")
	if code != 0 || complaints != "" {
		t.Fatalf("%d: %s", code, complaints)
	}
	for _, want := range []string{"600 s simulated on h100, 2 seeds from 1", "today", "sales-4", "class interns", "requests a second"} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %q:\n%s", want, out)
		}
	}
	if html, err := os.ReadFile(page); err != nil || !strings.Contains(string(html), "<svg") {
		t.Errorf("the page: %v", err)
	}
}

func TestSimulateJSON(t *testing.T) {
	code, out, complaints := try(t, nil, "simulate", "--workload", "../../loadtest/workloads/twelve-users.yaml", "--duration", "10s", "--policy", "fair,fcfs", "--json")
	var r struct {
		Runs []struct {
			Policy string `json:"policy"`
			Seeds  int    `json:"seeds"`
			Low    any    `json:"low"`
			Users  []any  `json:"users"`
		} `json:"runs"`
	}
	if err := json.Unmarshal([]byte(out), &r); code != 0 || err != nil {
		t.Fatalf("%d: %v: %s", code, err, complaints)
	}
	if len(r.Runs) != 2 || r.Runs[1].Policy != "fcfs" || r.Runs[1].Seeds != 5 || r.Runs[1].Low == nil || len(r.Runs[0].Users) != 12 {
		t.Errorf("%+v", r)
	}
}

func TestSimulateWrong(t *testing.T) {
	for _, c := range []struct {
		why  string
		args []string
	}{
		{"no such file", []string{"--workload", "nowhere.yaml"}},
		{"no such file", []string{"--workload", "nowhere.jsonl"}},
		{"no such policy", []string{"--workload", "../../loadtest/workloads/newcomers.yaml", "--policy", "lifo"}},
		{"no pool", []string{"--workload", "../../loadtest/workloads/mixed-day.yaml", "--config", "../../loadtest/workloads/configs/today.yaml", "--pool", "x"}},
		{"no such file", []string{"--workload", "../../loadtest/workloads/mixed-day.yaml", "--config", "nowhere.yaml"}},
		{"duration: -5s", []string{"--workload", "../../loadtest/workloads/mixed-day.yaml", "--duration=-5s"}},
		{"--seeds: -1", []string{"--workload", "../../loadtest/workloads/mixed-day.yaml", "--seeds=-1"}},
		{"a90", []string{"--workload", "../../loadtest/workloads/mixed-day.yaml", "--gpu", "a90"}},
	} {
		if code, out, complaints := try(t, nil, append([]string{"simulate"}, c.args...)...); code == 0 || out != "" || !strings.Contains(complaints, c.why) {
			t.Errorf("%v: %d, %q, %q; want %q", c.args, code, out, complaints, c.why)
		}
	}
}
