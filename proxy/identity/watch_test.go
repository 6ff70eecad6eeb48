package identity

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func send(t *testing.T, i *Identifier, n int, h headers) {
	t.Helper()
	for range n {
		if _, problem := i.Identify(request(h)); problem != nil {
			t.Fatal(problem)
		}
	}
}

func TestFindings(t *testing.T) {
	key := headers{"Authorization": "Bearer k-owui"}
	who := key.with(headers{"X-OpenWebUI-User-Id": "u-1"})
	closed := Config{APIKeys: someKeys()}
	tests := []struct {
		name  string
		cfg   Config
		sent  []headers // three times each
		wants []string  // forwarder and what problem and remedy have to say, in order
	}{
		{"nothing has come", closed, nil, nil},
		{"all is well", closed, []headers{person(key)}, nil},
		{"well, with nothing to say", closed, []headers{who.with(headers{"X-User-Groups": "", "X-Task": "", "X-Message-Id": ""})}, nil},
		{"no identity", closed, []headers{key}, []string{"openwebui: no identity: ENABLE_FORWARD_USER_INFO_HEADERS=true"}},
		{"no identity any more", closed, []headers{person(key), key}, []string{"openwebui: no identity: ENABLE_FORWARD_USER_INFO_HEADERS=true"}},
		{"an identity again", closed, []headers{key, person(key)}, nil},
		{"nothing but identity", closed, []headers{who}, []string{
			`openwebui: no groups: "X-User-Groups": "{{USER_GROUPS}}"`, `openwebui: no task: "X-Task": "{{TASK}}"`, `openwebui: no message id: "X-Message-Id": "{{MESSAGE_ID}}"`,
		}},
		{"ids of groups will do", closed, []headers{who.with(headers{"X-User-Group-Ids": "1", "X-Task": "", "X-Message-Id": ""})}, nil},
		{"an old Open WebUI", closed, []headers{person(key).with(headers{"X-User-Groups": "{{USER_GROUPS}}"})}, []string{"openwebui: {{…}}: 0.11"}},
		{"a key that is no forwarder", closed, []headers{person(headers{"Authorization": "Bearer k-ci"})}, []string{"ci: not believed: forwarder: true"}},
		{"no more", closed, []headers{person(headers{"Authorization": "Bearer k-ci"}), {"Authorization": "Bearer k-ci"}}, nil},
		{"no key", closed, []headers{person(nil)}, []string{"no key: not believed: forwarder: true"}},
		{"a script with its own key", closed, []headers{{"Authorization": "Bearer k-ci"}}, nil},
		{"a signed identity with headers that need a key", Config{JWT: []Issuer{openWebUI()}}, []headers{{signedH: signed(t), "X-User-Groups": "vip"}}, []string{"openwebui: not believed: forwarder: true"}},
		{"a short secret", Config{JWT: []Issuer{{Name: "w", Secret: "short"}}}, nil, []string{"w: short enough: openssl rand"}},
		{"open mode without identity", Config{}, []headers{{"Authorization": "Bearer x"}}, []string{"open mode: every address is one person: ENABLE_FORWARD_USER_INFO_HEADERS=true"}},
		{"open mode with scripts beside Open WebUI", Config{}, []headers{person(nil), {"Authorization": "Bearer x"}}, nil},
		{"open mode without groups", Config{}, []headers{{"X-OpenWebUI-User-Id": "u", "X-Task": "", "X-Message-Id": ""}}, []string{"open mode: no groups: X-User-Groups"}},
		{"other names of headers", Config{APIKeys: someKeys(), Forwarded: Forwarded{Groups: "X-Teams"}}, []headers{who.with(headers{"X-Task": "", "X-Message-Id": ""})}, []string{`openwebui: no groups: "X-Teams": "{{USER_GROUPS}}"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := mustNew(t, tt.cfg)
			for _, h := range tt.sent {
				send(t, i, enough, h)
			}
			got := i.Findings()
			if len(got) != len(tt.wants) {
				t.Fatalf("%+v, want %v", got, tt.wants)
			}
			for n, want := range tt.wants {
				parts := strings.SplitN(want, ": ", 3)
				if f := got[n]; f.Forwarder != parts[0] || !strings.Contains(f.Problem, parts[1]) || !strings.Contains(f.Remedy, parts[2]) {
					t.Errorf("%+v, want %s", f, want)
				}
			}
		})
	}
}

func TestTraffic(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys()})
	send(t, i, 2, person(headers{"Authorization": "Bearer k-owui"}))
	send(t, i, 1, headers{"Authorization": "Bearer k-owui"})
	send(t, i, 1, person(headers{"Authorization": "Bearer k-ci"}))
	want := []Traffic{
		{Forwarder: "openwebui", Requests: 3, Identity: 2, Groups: 2, Task: 2, Message: 2},
		{Forwarder: "ci", Requests: 1, Unread: 1},
	}
	if diff := cmp.Diff(want, i.Traffic()); diff != "" {
		t.Error(diff)
	}
	if err := i.SwapKeys(someKeys()[:1], true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[:1], i.Traffic()); diff != "" {
		t.Errorf("after a swap: %s", diff)
	}
}

func TestAFindingIsLoggedOnce(t *testing.T) {
	var out bytes.Buffer
	i, err := New(Config{APIKeys: someKeys()}, Deps{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		send(t, i, 10, headers{"Authorization": "Bearer k-owui"})
		send(t, i, 1, person(headers{"Authorization": "Bearer k-owui"}))
	}
	if n := strings.Count(out.String(), "ENABLE_FORWARD_USER_INFO_HEADERS"); n != 1 || strings.Contains(out.String(), "k-owui") {
		t.Errorf("logged %d times: %s", n, &out)
	}
}

func TestManyAtOnce(t *testing.T) {
	i := mustNew(t, Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI()}})
	h := person(headers{"Authorization": "Bearer k-owui", signedH: signed(t)})
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			for range 100 {
				if _, problem := i.Identify(request(h)); problem != nil {
					t.Error(problem)
				}
				if n == 0 {
					if err := i.SwapKeys(someKeys(), true); err != nil {
						t.Error(err)
					}
				}
				i.Findings()
			}
		})
	}
	all.Wait()
	if got := i.Traffic(); len(got) != 1 || got[0].Requests != 1600 {
		t.Errorf("%+v", got)
	}
}

func BenchmarkIdentify(b *testing.B) {
	for name, c := range map[string]struct {
		cfg Config
		h   headers
	}{
		"open":      {Config{}, person(nil)},
		"key":       {Config{APIKeys: someKeys()}, headers{"Authorization": "Bearer k-ci"}},
		"forwarder": {Config{APIKeys: someKeys()}, person(headers{"Authorization": "Bearer k-owui"})},
		"signed":    {Config{APIKeys: someKeys(), JWT: []Issuer{openWebUI()}}, person(headers{"Authorization": "Bearer k-owui", signedH: signed(b)})},
		"anonymous": {Config{APIKeys: someKeys()}, nil},
	} {
		b.Run(name, func(b *testing.B) {
			i, r := mustNew(b, c.cfg), request(c.h)
			b.ReportAllocs()
			for b.Loop() {
				if _, problem := i.Identify(r); problem != nil {
					b.Fatal(problem)
				}
			}
		})
	}
}
