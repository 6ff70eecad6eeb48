package arrivals

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"fairlane/scheduler"
)

// recordInto makes the test's binary record until it is killed.
const recordInto = "FAIRLANE_TEST_RECORD_INTO"

func TestMain(m *testing.M) {
	if dir := os.Getenv(recordInto); dir != "" {
		recordForEver(dir)
	}
	goleak.VerifyTestMain(m)
}

func recordForEver(dir string) {
	r, err := NewRecorder(RecorderConfig{Dir: dir, MaxFile: 1 << 20})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	at := time.Now()
	for i := 0; ; i++ {
		r.write(&Arrival{At: at, User: "user:someone@example.com", Input: i})
		if i == 50_000 {
			fmt.Println("going")
		}
	}
}

// inFiles are the inputs of all records in a directory, and how many files there are.
func inFiles(t *testing.T, dir string) (inputs []int, files int) {
	t.Helper()
	names, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for a, err := range Read(bytes.NewReader(b)) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			inputs = append(inputs, a.Input)
		}
	}
	return inputs, len(names)
}

func TestARecordingRotatesAndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "arrivals")
		r, err := NewRecorder(RecorderConfig{Dir: dir, MaxFile: 1000, Files: 3})
		if err != nil {
			t.Fatal(err)
		}
		r.Start(t.Context())
		r.Start(t.Context())
		for i := range 200 {
			r.Record(&Arrival{At: time.Now(), User: "user:a", Input: i})
			if i%10 == 0 {
				synctest.Wait()
			}
		}
		r.Stop()
		r.Stop()
		inputs, files := inFiles(t, dir)
		if files != 3 || len(inputs) == 0 || inputs[len(inputs)-1] != 199 {
			t.Fatalf("%d files with %v", files, inputs)
		}
		for i, in := range inputs {
			if in != 200-len(inputs)+i {
				t.Fatalf("record %d is %d: %v", i, in, inputs)
			}
		}
		names, _ := Files(dir)
		for _, name := range append(names, dir) {
			info, err := os.Stat(name)
			if err != nil || info.Mode().Perm()&0o077 != 0 || !info.IsDir() && info.Size() > 1000 {
				t.Errorf("%s: %v %v", name, info.Mode(), info.Size())
			}
		}
	})
}

func TestWhatIsRecordedIsOnTheDiskASecondLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, err := NewRecorder(RecorderConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		r.Start(t.Context())
		defer r.Stop()
		r.Record(&Arrival{At: time.Now(), User: "user:a", Input: 1})
		<-time.After(2 * flushEvery)
		if inputs, _ := inFiles(t, dir); !cmp.Equal(inputs, []int{1}) {
			t.Errorf("found %v", inputs)
		}
	})
}

// TestKillLeavesWholeFiles but for a last line.
func TestKillLeavesWholeFiles(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), recordInto+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	inputs, files := inFiles(t, dir)
	if files < 2 || len(inputs) < 1000 {
		t.Fatalf("%d files with %d records", files, len(inputs))
	}
	for i := range inputs {
		if i > 0 && inputs[i] != inputs[i-1]+1 {
			t.Fatalf("%d follows %d", inputs[i], inputs[i-1])
		}
	}
	r, err := NewRecorder(RecorderConfig{Dir: dir}) // and goes on in a new one
	if err != nil {
		t.Fatal(err)
	}
	r.Start(t.Context())
	r.Record(&Arrival{At: time.Now(), User: "user:a", Input: -1})
	r.Stop()
	if again, _ := inFiles(t, dir); len(again) != len(inputs)+1 || again[len(again)-1] != -1 {
		t.Errorf("after the restart there are %d, before %d", len(again), len(inputs))
	}
}

func TestADirectoryThatCantBeMadeIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := NewRecorder(RecorderConfig{Dir: filepath.Join(file, "arrivals")}); err == nil {
		t.Error("no error")
	} else if pe, ok := errors.AsType[*os.PathError](err); !ok || pe.Path != file {
		t.Errorf("got %v", err)
	}
}

func TestAnArrivalIsWhatPolicyLookedAtAndWhatItTook(t *testing.T) {
	at := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	r := &scheduler.Receipt{
		CallID: "c", At: at, Pool: "main", Class: "vip", User: "user:a", Chat: "chat-1",
		Edge: &scheduler.EdgeReceipt{
			Email: "a@example.com", UserName: "A", Model: "m", Endpoint: "chat", Stream: true, Sequences: 2, MaxTokens: 9,
			Outcome: scheduler.Completed, WaitMS: 1500, Usage: scheduler.Usage{Input: 100, Cached: 60, Output: 7},
		},
		Asked: &scheduler.Asked{ID: "7", Roles: []string{"admin"}, Auth: "jwt", Chars: 400, Estimate: 90, Prefix: 5, Priority: 1},
	}
	want := Arrival{
		At: at, User: "user:a", ID: "7", Email: "a@example.com", Roles: []string{"admin"}, Auth: "jwt", Pool: "main", Model: "m", Stream: true,
		Class: "vip", Sequences: 2, Chars: 400, Estimate: 90, Input: 100, Cached: 60, Output: 7, MaxTokens: 9, Prefix: 5, Chat: hash("chat-1"), Priority: 1,
		Outcome: "completed", Wait: 1500 * time.Millisecond,
	}
	got, ok := Of(r)
	if diff := cmp.Diff(want, got); diff != "" || !ok {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.Edge.Usage = scheduler.Usage{}
	if got, _ := Of(r); got.Input != 90 || got.Output != 0 {
		t.Errorf("without usage: %+v", got)
	}
	r.Asked = nil
	if _, ok := Of(r); ok {
		t.Error("what policy never saw is recorded")
	}
}

// BenchmarkRecord is what one record costs beside a request's way.
func BenchmarkRecord(b *testing.B) {
	r, err := NewRecorder(RecorderConfig{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	a := Arrival{At: time.Now(), User: "user:someone@example.com", Email: "someone@example.com", Model: "org/model", Class: "standard", Input: 5000, Output: 300, Chat: 1 << 60}
	b.ReportAllocs()
	for b.Loop() {
		r.write(&a)
	}
	r.Start(b.Context())
	r.Stop()
}
