package capacity

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestScripts runs testdata/*.txt: on each line a command, then, after "->",
// what it answers. The commands are the methods of script below.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			s := script{now: epoch(), pool: NewPool(Config{}), holds: map[string]*Hold{}}
			for i, line := range strings.Split(string(text), "\n") {
				line, _, _ = strings.Cut(line, "#")
				command, want, _ := strings.Cut(line, "->")
				words := strings.Fields(command)
				if len(words) == 0 {
					continue
				}
				got, err := s.do(words[0], words[1:])
				if err != nil {
					t.Fatalf("%s:%d: %s: %v", f, i+1, strings.TrimSpace(command), err)
				}
				if want = strings.TrimSpace(want); got != want {
					t.Fatalf("%s:%d: %s: got %q, want %q", f, i+1, strings.TrimSpace(command), got, want)
				}
				if err := s.pool.audit(); err != nil {
					t.Fatalf("%s:%d: %s: %v", f, i+1, strings.TrimSpace(command), err)
				}
			}
		})
	}
}

func epoch() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

type script struct {
	now   time.Time
	pool  *Pool
	holds map[string]*Hold
}

func (s *script) do(name string, args []string) (string, error) {
	switch name {
	case "pool":
		return "", s.configure(args)
	case "advance": // by a duration, may be negative
		d, err := time.ParseDuration(args[0])
		s.now = s.now.Add(d)
		return "", err
	case "fit", "pass", "run", "slip":
		return s.fit(name, args)
	case "first", "progress", "paced", "release", "complete":
		return "", s.hold(name, args)
	case "learn":
		return "", s.learn(args)
	case "wake":
		if at := s.pool.Wake(s.now); !at.IsZero() {
			return at.Sub(s.now).String(), nil
		}
		return "never", nil
	default:
		return s.backend(name, args)
	}
}

// configure takes url:slots:kv of each backend, and :drain; fixed, anywhere and itl=duration
// are the pool's.
func (s *script) configure(args []string) error {
	var cfg Config
	for _, a := range args {
		switch key, value, _ := strings.Cut(a, "="); key {
		case "fixed":
			cfg.Fixed = true
			continue
		case "anywhere":
			cfg.Anywhere = true
			continue
		case "itl":
			d, err := time.ParseDuration(value)
			if err != nil {
				return err
			}
			cfg.ITL = d
			continue
		}
		p := append(strings.Split(a, ":"), "0", "0", "")
		slots, err := strconv.Atoi(p[1])
		if err != nil {
			return err
		}
		kv, err := strconv.Atoi(p[2])
		if err != nil {
			return err
		}
		cfg.Backends = append(cfg.Backends, BackendConfig{URL: p[0], Slots: slots, KVTokens: kv, Draining: p[3] == "drain"})
	}
	s.pool.Configure(cfg)
	return nil
}

// fit asks for a head and pass for one that passes it; run and slip also take,
// and name the hold.
func (s *script) fit(name string, args []string) (string, error) {
	hold := ""
	if name == "run" || name == "slip" {
		hold, args = args[0], args[1:]
	}
	d := Demand{Sequences: 1, Stream: true}
	for _, a := range args {
		if err := set(&d, a); err != nil {
			return "", err
		}
	}
	b, v := s.pool.Fit(s.now, d, name == "fit" || name == "run")
	if v != Fits {
		return v.String(), nil
	}
	if hold != "" {
		s.holds[hold] = b.Take(s.now, d)
	}
	return b.URL(), nil
}

func set(d *Demand, arg string) error {
	key, value, _ := strings.Cut(arg, "=")
	n, err := strconv.Atoi(value)
	switch key {
	case "seq":
		d.Sequences = n
	case "in":
		d.Input = n
	case "cached":
		d.Cached = n
	case "out":
		d.Expected = n
	case "group":
		d.Group = uint64(n)
	case "chat":
		d.Chat, err = value, nil
	case "whole":
		d.Stream, err = false, nil
	case "alone":
		d.Alone, err = true, nil
	case "avoid":
		d.Avoid, err = value, nil
	case "faulted":
		d.Faulted, err = true, nil
	default:
		return fmt.Errorf("no such demand: %s", key)
	}
	return err
}

func (s *script) hold(name string, args []string) error {
	h := s.holds[args[0]]
	if h == nil {
		return fmt.Errorf("no such hold: %s", args[0])
	}
	switch name {
	case "first":
		h.FirstToken(s.now)
	case "progress":
		n, err := strconv.Atoi(args[1])
		h.Progress(s.now, n)
		return err
	case "paced": // so many times a progress after a while
		return s.paced(h, args[1:])
	case "release":
		h.Release(s.now, false)
	case "complete":
		h.Release(s.now, true)
		h.backend.Success(s.now)
	}
	return nil
}

// paced lets a hold progress n times, by some tokens after some time each.
func (s *script) paced(h *Hold, args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	more, err := strconv.Atoi(args[2])
	for range n {
		s.now = s.now.Add(d)
		h.Progress(s.now, h.generated+more)
	}
	return err
}

func (s *script) learn(args []string) error {
	group, err := strconv.ParseUint(args[0], 10, 64)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	s.pool.Learn(group, n)
	return err
}

func (s *script) backend(name string, args []string) (string, error) {
	b := s.pool.Backend(args[0])
	if b == nil {
		return "gone", nil
	}
	switch name {
	case "up":
		b.Up(s.now)
	case "down":
		b.Down(s.now)
	case "busy":
		b.Busy(s.now)
	case "fault":
		return told(b.Fault(s.now), "trips"), nil
	case "success":
		return told(b.Success(s.now), "closes"), nil
	case "answered":
		return told(b.Answered(s.now), "closes"), nil
	case "observe":
		return "", s.observe(b, args[1:])
	case "state":
		return describe(b.State(), args[1:])
	default:
		return "", fmt.Errorf("no such command: %s", name)
	}
	return "", nil
}

func told(it bool, what string) string {
	if it {
		return what
	}
	return ""
}

func (s *script) observe(b *Backend, args []string) error {
	x := Sample{At: s.now}
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		f, err := strconv.ParseFloat(value, 64)
		switch key {
		case "running":
			x.Running = int(f)
		case "waiting":
			x.Waiting = int(f)
		case "usage":
			x.KVUsage = f
		case "preempted":
			x.Preemptions = f
		case "kv":
			x.KVTokens = int(f)
		case "block":
			x.BlockSize = int(f)
		case "prefix":
			x.PrefixCache, err = true, nil
		default:
			return fmt.Errorf("no such field: %s", key)
		}
		if err != nil {
			return err
		}
	}
	b.Observe(s.now, x)
	return nil
}

func describe(st State, fields []string) (string, error) {
	var out []string
	for _, f := range fields {
		switch f {
		case "slots":
			out = append(out, strconv.Itoa(st.Slots))
		case "running":
			out = append(out, strconv.Itoa(st.Running))
		case "held":
			out = append(out, fmt.Sprintf("%.0f", st.KVHeld))
		case "budget":
			out = append(out, fmt.Sprintf("%.0f", st.KVBudget))
		case "kv":
			out = append(out, strconv.Itoa(st.KVTokens))
		case "beta":
			out = append(out, fmt.Sprintf("%.4f", st.Beta))
		case "rho":
			out = append(out, fmt.Sprintf("%.2f", st.Rho))
		case "prefill":
			out = append(out, strconv.Itoa(st.Prefill))
		case "rate":
			out = append(out, fmt.Sprintf("%.0f", st.Rate))
		case "why":
			out = append(out, st.Why)
		default:
			return "", fmt.Errorf("no such field: %s", f)
		}
	}
	return strings.TrimSpace(strings.Join(out, " ")), nil
}
