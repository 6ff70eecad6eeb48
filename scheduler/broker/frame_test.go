package broker

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fairlane/scheduler"
)

func TestFrameOnTheWire(t *testing.T) {
	f := &scheduler.Frame{Type: scheduler.FrameData, Fence: scheduler.Fence{Bucket: 0x01020304, Revision: 5, Attempt: 6}, Seq: 7, Data: []byte("hi")}
	got, err := appendFrame([]byte("before"), f)
	want := []byte("before\x02\x01\x02\x03\x04\x00\x00\x00\x05\x00\x00\x00\x06\x00\x00\x00\x07hi")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestFrameRoundTrip(t *testing.T) {
	for _, f := range everyFrame() {
		data, err := appendFrame(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeFrame(data)
		if err != nil {
			t.Fatal(err)
		}
		got.ID, got.Worker = f.ID, f.Worker // these travel in the subjects
		if diff := cmp.Diff(f, got); diff != "" {
			t.Errorf("type %d (-want +got):\n%s", f.Type, diff)
		}
	}
}

func TestAnyDataFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.Uint32()
		f := &scheduler.Frame{
			Type: scheduler.FrameData, Seq: u.Draw(t, "seq"), Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
			Fence: scheduler.Fence{Bucket: u.Draw(t, "bucket"), Revision: u.Draw(t, "revision"), Attempt: u.Draw(t, "attempt")},
		}
		data, err := appendFrame(nil, f)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decodeFrame(data)
		if err != nil || got.Seq != f.Seq || got.Fence != f.Fence || !bytes.Equal(got.Data, f.Data) {
			t.Fatalf("%+v became %+v, %v", f, got, err)
		}
	})
}

func TestMalformedFrames(t *testing.T) {
	head := func(kind scheduler.FrameType) string { return string(byte(kind)) + string(make([]byte, frameHead-1)) }
	for name, data := range map[string]string{
		"empty":              "",
		"cut in the fence":   head(scheduler.FrameData)[:frameHead-1],
		"of type 0":          head(0) + "x",
		"of type 6":          head(6),
		"head without any":   head(scheduler.FrameHead),
		"head that is null":  head(scheduler.FrameHead) + "null",
		"end that is null":   head(scheduler.FrameEnd) + "null",
		"end of broken JSON": head(scheduler.FrameEnd) + `{"usage":`,
		"err without any":    head(scheduler.FrameErr) + `{}`,
		"err that is null":   head(scheduler.FrameErr) + `null`,
	} {
		if f, err := decodeFrame([]byte(data)); !errors.Is(err, errFrame) {
			t.Errorf("a frame %s became %+v, %v", name, f, err)
		}
	}
	if _, err := appendFrame(nil, &scheduler.Frame{}); !errors.Is(err, errFrame) {
		t.Errorf("a frame without a type was written: %v", err)
	}
}

func FuzzDecodeFrame(f *testing.F) {
	for _, fr := range everyFrame() {
		data, err := appendFrame(nil, fr)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 300)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fr, err := decodeFrame(data)
		if err != nil {
			return
		}
		again, err := appendFrame(nil, fr)
		if err != nil {
			t.Fatalf("what was read can't be written: %v", err)
		}
		back, err := decodeFrame(again)
		if err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		if diff := cmp.Diff(fr, back); diff != "" {
			t.Fatalf("the second reading differs:\n%s", diff)
		}
	})
}
