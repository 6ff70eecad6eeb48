package main

import (
	"testing"

	"fairlane/proxy/limit/quota"
)

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
