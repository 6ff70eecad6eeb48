package simulate

import (
	"os"
	"testing"
)

func load(t testing.TB, name string) *Workload {
	t.Helper()
	data, err := os.ReadFile("../workloads/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	w, err := ParseWorkload(data, name)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func play1(t testing.TB, w *Workload, p Policy) *Result {
	t.Helper()
	r, err := Run(w, SetupOf(w), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestX(t *testing.T) {
	for _, p := range Policies() {
		r := play1(t, load(t, "twelve-users"), p)
		t.Logf("%s: n %d rate %.1f out %.0f kv %.2f run %.1f jain %.4f err %.4f gap %.0f wait %d", p, r.Requests, r.RequestRate, r.OutputRate, r.KV, r.Running, r.Jain, r.ShareError, r.LargestGap, r.StillWaiting)
	}
}
