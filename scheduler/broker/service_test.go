package broker

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"

	"fairlane/scheduler"
)

// twoBrokers are two processes on one NATS.
func twoBrokers(t *testing.T) (here, there *Broker) {
	t.Helper()
	s := startServer(t)
	return openBroker(t, Config{URL: s.url()}), openBroker(t, Config{URL: s.url()})
}

// A leader that has no time delays neither cancels nor the reports of others,
// and each worker's reports wait in order.
func TestABlockedReportBlocksItsOwnWorkerAlone(t *testing.T) {
	here, there := twoBrokers(t)
	d := newFakeDispatcher()
	d.gate = make(chan struct{})
	stopLater(t)(there.Bus().ServeDispatcher("small", d))
	answers := make(chan error, 64)
	inbox := here.nc.NewInbox()
	sub, err := here.nc.Subscribe(inbox, func(m *nats.Msg) { answers <- answerError(m, errTest) })
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	for i := range 10 {
		data, err := pack(&scheduler.Report{Worker: "wk1", Pool: "small", Events: []scheduler.Event{{ID: strconv.Itoa(i)}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := here.nc.PublishRequest("fl.ds.small.report", inbox, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := here.Bus().Dispatcher("small").Cancel(t.Context(), "id"); err != nil {
		t.Errorf("a cancel behind a blocked report: %v", err)
	}
	if err := here.Bus().Dispatcher("small").ProxyBeat(t.Context(), "px", false); err != nil {
		t.Errorf("a beat behind a blocked report: %v", err)
	}
	close(d.gate)
	for i := range 10 {
		if got := take(t, d.reports, "a report").Events[0].ID; got != strconv.Itoa(i) {
			t.Fatalf("report %s in place %d", got, i)
		}
		if err := take(t, answers, "an answer"); err != nil {
			t.Error(err)
		}
	}
}

// The end of a term does not wait for reports that nobody takes any more.
func TestStopEndsWhatIsHandled(t *testing.T) {
	here, there := twoBrokers(t)
	d := newFakeDispatcher()
	d.gate, d.entered = make(chan struct{}), make(chan struct{}, 1) // never opened
	stop, err := there.Bus().ServeDispatcher("small", d)
	if err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	go func() {
		answer <- here.Bus().Dispatcher("small").Report(context.Background(), &scheduler.Report{Worker: "wk1", Pool: "small"})
	}()
	take(t, d.entered, "the report")
	stop()
	if err := take(t, answer, "the answer"); !errors.Is(err, scheduler.ErrNotLeader) {
		t.Errorf("the report was answered with %v", err)
	}
}

// Whatever comes over the wire, nothing falls over, and what is sound is heard.
func TestRubbishIsDropped(t *testing.T) {
	here, there := twoBrokers(t)
	w, p, d := newFakeWorker(), newFakeProxy(), newFakeDispatcher()
	stopLater(t)(there.Bus().ServeWorker("wk", []string{"small"}, w))
	stopLater(t)(there.Bus().ServeProxy("px", p))
	stopLater(t)(there.Bus().ServeDispatcher("small", d))
	for _, subject := range []string{
		"fl.wk.wk.a", "fl.wk.wk.c", "fl.wk.wk.m", "fl.wk.all.small.m", "fl.px.px.s.id", "fl.px.px.b.token", "fl.px.px.f.id",
		"fl.px.px.q", "fl.px.px.ping", "fl.ds.small.report", "fl.ds.small.cancel", "fl.ds.small.beat", "fl.ds.small.where",
	} {
		for _, data := range []string{"", "null", "{", "[]", "{}", "0", "\x1f\x8b", "\x1f\x8b\x08\x00\x00", "\x01", "-1", "99999999999999999999", `{"entry":{"ID":"a.b"}}`} {
			for _, reply := range []string{"", here.nc.NewInbox(), "fl.wk.wk.c"} {
				if err := here.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: reply, Data: []byte(data)}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := here.nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	bus := here.Bus()
	want := everyFrame()[2]
	if err := bus.Proxy("px").Frame(want); err != nil {
		t.Fatal(err)
	}
	if got := take(t, p.frames, "a sound frame"); got.ID != want.ID || len(got.Data) != len(want.Data) {
		t.Errorf("%+v came", got)
	}
	answer := make(chan error, 1)
	bus.Worker("wk").Grant(sampleGrant(1), func(err error) { answer <- err })
	if err := take(t, answer, "the answer to a sound grant"); err != nil {
		t.Error(err)
	}
	if got := take(t, w.grants, "a sound grant"); got.Number != 1 {
		t.Errorf("%+v came", got)
	}
	if err := bus.Dispatcher("small").Report(t.Context(), bigReport(1)); err != nil {
		t.Error(err)
	}
	if got := take(t, d.reports, "a sound report"); got.Worker != "wk1" {
		t.Errorf("%+v came", got)
	}
	if err := bus.Proxy("px").Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// Frames to a proxy that is not there come back to the worker's own cancels, as
// word of the server: they cancel nothing.
func TestFramesToNobody(t *testing.T) {
	here, _ := twoBrokers(t)
	w := newFakeWorker()
	stopLater(t)(here.Bus().ServeWorker("wk1", []string{"small"}, w))
	for _, f := range everyFrame() {
		if err := here.Bus().Proxy("nobody").Frame(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := here.nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	none(t, w.cancels, "a cancel")
}

// A grant to a process that hangs is answered all the same, in time.
func TestAGrantThatIsNotAnswered(t *testing.T) {
	t.Parallel() // it mostly waits
	here, there := twoBrokers(t)
	sub, err := there.nc.SubscribeSync("fl.wk.deaf.a")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	if err := there.nc.FlushTimeout(patience); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 2)
	here.Bus().Worker("deaf").Grant(sampleGrant(1), func(err error) { answer <- err })
	if err := take(t, answer, "the answer"); !errors.Is(err, scheduler.ErrNoResponder) {
		t.Errorf("answered with %v", err)
	}
	here.Bus().Worker("deaf").Grant(sampleGrant(2), func(err error) { answer <- err })
	here.Close() // ends what is pending
	if err := take(t, answer, "the answer at the end"); !errors.Is(err, scheduler.ErrNoResponder) {
		t.Errorf("answered with %v", err)
	}
}

func TestBodiesAreForgotten(t *testing.T) {
	b := newBodies()
	defer b.close()
	body := make([]byte, 2*bodyPart+1)
	token := b.keep(body)
	if _, err := b.part(token, len(body)); !errors.Is(err, ErrMalformed) {
		t.Errorf("behind the end: %v", err)
	}
	for at := 0; at < len(body); at += bodyPart {
		if part, err := b.part(token, at); err != nil || len(part) != min(bodyPart, len(body)-at) {
			t.Errorf("at %d: %d bytes, %v", at, len(part), err)
		}
	}
	if _, err := b.part(token, 0); !errors.Is(err, errNoBody) || len(b.kept) != 0 {
		t.Errorf("after the last part: %v, %d kept", err, len(b.kept))
	}
}

func TestErrorsOnTheWire(t *testing.T) {
	for _, want := range []error{scheduler.ErrBusy, scheduler.ErrNotLeader, scheduler.ErrUnknownCall, scheduler.ErrNoResponder} {
		if got := namedError(errorName(fmt.Errorf("wrapped: %w", want))); !errors.Is(got, want) {
			t.Errorf("%v became %v", want, got)
		}
	}
	if got := errorName(errors.New("two\r\nlines")); got != "two%0D%0Alines" {
		t.Errorf("%q", got)
	}
}

func TestAPackedBombIsBounded(t *testing.T) {
	packed := func(what []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		if _, err := z.Write(what); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	bomb := bytes.Repeat(packed(bytes.Repeat([]byte(" "), 1<<20)), unpackMax>>20+1) // members follow each other
	bomb = append(bomb, packed([]byte(`"boom"`))...)
	var v string
	if err := unpack(bomb, &v); !errors.Is(err, ErrMalformed) {
		t.Errorf("%d bytes became %q, %v", len(bomb), v, err)
	}
}
