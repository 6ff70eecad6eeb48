package config

import (
	"errors"
	"strings"
	"testing"
)

func TestDescribe(t *testing.T) {
	c, err := Load("testdata/describe/fairlane.yaml", environment(t, map[string]string{"OPS_TOKEN": "pa55word"}))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := c.Describe(&out); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"pa55word", "60303a", "9f86d0"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("shows %q", secret)
		}
	}
	golden(t, "testdata/describe/fairlane.txt", out.String())
}

func TestDescribeDefaults(t *testing.T) {
	var out strings.Builder
	if err := parse(t, "", nil).Describe(&out); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/describe/defaults.txt", out.String())
}

// fewWriter takes so many lines and no more.
type fewWriter struct{ left int }

func (w *fewWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

func TestDescribeTellsOfItsWriter(t *testing.T) {
	for _, n := range []int{0, 1, 50, 100, 130} {
		if err := parse(t, "", nil).Describe(&fewWriter{n}); err == nil {
			t.Errorf("no error after %d lines", n)
		}
	}
}
