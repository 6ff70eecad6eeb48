package dispatcher

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"fairlane/scheduler"
)

func TestStatus(t *testing.T) {
	inHouse(t, plan{gpus: map[string]int{gpuA: 2}}, func(h *house) {
		h.ask(wish{out: 1000})
		h.ask(wish{class: "vip", out: 1000})
		advance(time.Second)
		h.ask(wish{class: "vip"})
		advance(2 * time.Second)
		h.ask(wish{class: "vip"})
		advance(time.Second)
		synctest.Wait() // the tick of this moment is over, for both
		s, leading := h.dispatchers[0].Status()
		if !leading {
			t.Fatal("it leads")
		}
		for i := range s.Classes {
			c := &s.Classes[i]
			c.Oldest = c.Oldest.Round(500 * time.Millisecond)
			if c.Share != h.gaugesOf("fairlane_class_share")[c.Name] || c.Entitled != h.gaugesOf("fairlane_class_entitled_share")[c.Name] || c.Share == 0 {
				t.Errorf("%+v has other shares than the metrics", c)
			}
			c.Share, c.Entitled = 0, 0
		}
		want := []ClassStatus{{Name: "normal", Weight: 1, Running: 1}, {Name: "vip", Weight: 10, Running: 1, Waiting: 2, Oldest: 3 * time.Second}}
		if diff := cmp.Diff(want, s.Classes); diff != "" {
			t.Error(diff)
		}
		if len(s.Backends) != 1 || s.Backends[0].URL != gpuA || s.Backends[0].Running != 2 || s.Backends[0].Slots != 2 || !s.Backends[0].Up {
			t.Errorf("got %+v", s.Backends)
		}
		for name, want := range map[string]float64{"normal": 0, "vip": 2} {
			if got := h.gaugesOf("fairlane_queue_depth")[name]; got != want {
				t.Errorf("%s: a depth of %v", name, got)
			}
		}
		if got := h.gaugesOf("fairlane_running")["gpu-a:8000,vip"]; got != 1 {
			t.Errorf("%v of vip run, by the metrics", got)
		}
	})
}

// TestTheLineKeepsTheOldestInFront whoever returns and leaves.
func TestTheLineKeepsTheOldestInFront(t *testing.T) {
	now := time.Now()
	c := &classState{}
	at := func(age int) *item {
		return &item{entry: &scheduler.Entry{AcceptedAt: now.Add(-time.Duration(age) * time.Second)}}
	}
	old, mid, young := at(30), at(20), at(10)
	c.join(mid, false)
	c.join(young, false)
	c.join(old, true)
	if got := c.age(now); got != 30*time.Second {
		t.Errorf("the oldest waits %v", got)
	}
	c.leave(old)
	c.leave(mid)
	c.join(mid, true)
	if got := c.age(now); got != 20*time.Second {
		t.Errorf("the oldest waits %v", got)
	}
	c.leave(mid)
	c.join(old, true)
	c.join(mid, true)
	c.leave(young)
	c.leave(old)
	c.leave(mid)
	if c.front != nil || c.back != nil || c.age(now) != 0 {
		t.Errorf("got %+v", c)
	}
}
