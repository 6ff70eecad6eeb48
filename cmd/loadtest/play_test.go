package main

import (
	"os"
	"testing"

	"fairlane/cmd/internal/config"
	"fairlane/loadtest/simulate"
)

// TestTheInstallationSaysWhatTheWorkloadSays of its users.
func TestTheInstallationSaysWhatTheWorkloadSays(t *testing.T) {
	data, err := os.ReadFile("../../loadtest/workloads/agreement.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w, err := simulate.ParseWorkload(data, "agreement.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Parse([]byte(installation(t.TempDir(), "http://127.0.0.1:1", w)), "fairlane.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Policy.Rules) < 4 || cfg.Policy.Classes["gold"].Weight != 3 || cfg.Pools[0].Backends[0].Slots != 16 {
		t.Errorf("%+v", cfg.Policy)
	}
	if r := cfg.Policy.Rules[1]; *r.Weight != 2 || *r.Class != "gold" || r.When.User[0] != "gold-b" {
		t.Errorf("%+v", r)
	}
}
