package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"fairlane/proxy"
	"fairlane/proxy/identity"
	"fairlane/proxy/policy"
	"fairlane/scheduler"
	"fairlane/scheduler/turn"
)

const exampleFile = "../../../deploy/fairlane.yaml"

func parse(t *testing.T, text string, vars map[string]string) *Config {
	t.Helper()
	c, err := Parse([]byte(text), "fairlane.yaml", environment(t, vars))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The example file shows every key, and the default of each.
func TestExampleIsTheDefault(t *testing.T) {
	for _, vars := range []map[string]string{nil, {"VLLM_URL": "http://gpu:8000/v1/"}, {"VLLM_URL": ""}} {
		env := environment(t, vars)
		shown, err := Load(exampleFile, env)
		if err != nil {
			t.Fatal(err)
		}
		defaults, err := Load("", env)
		if err != nil {
			t.Fatal(err)
		}
		last := len(shown.Policy.Rules) - 1
		if diff := gocmp.Diff(policy.BuiltIn(), shown.Policy.Rules[last]); diff != "" {
			t.Errorf("the last rule is not the built-in one: -want +got\n%s", diff)
		}
		shown.Policy.Rules = shown.Policy.Rules[:last]
		if diff := gocmp.Diff(defaults, shown, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty(), cmpopts.EquateComparable(), cmpopts.IgnoreFields(Config{}, "Files")); diff != "" {
			t.Errorf("-default +example\n%s", diff)
		}
		if got := defaults.Restart(shown); len(got) > 0 {
			t.Errorf("restart for %v", got)
		}
		given := map[string]bool{}
		for _, s := range shown.settings {
			given[s.path] = s.given
		}
		for _, s := range defaults.settings {
			// A row names the conditions that it has.
			if !given[s.path] && !strings.Contains(s.path, ".when.") {
				t.Errorf("the example lacks %s", s.path)
			}
		}
		if len(shown.Warnings) > 0 {
			t.Errorf("a default warns: %v", shown.Warnings)
		}
	}
}

// Who changes a default has to change the contract, too.
func TestDefaults(t *testing.T) {
	c := parse(t, "", nil)
	pool := Pool{
		Name: "main", Models: []string{}, Aliases: map[string]string{}, Adaptive: true, PassPriority: true, PrefixAffinity: true,
		Cost:     scheduler.CostWeights{Input: 1, Cached: 0.1, Output: 2},
		Timeouts: Timeouts{2 * time.Second, 2 * time.Minute, 30 * time.Minute, time.Minute},
	}
	want := &Config{
		Listen: ":9000", DataDir: "./data",
		Edge: proxy.Config{
			Listen: ":9000", MaxBody: 64 << 20, MaxBytes: 1 << 30, ReadHeader: 10 * time.Second, ReadBody: time.Minute,
			Idle: 2 * time.Minute, Grace: time.Minute,
			QueueStatus: proxy.QueueStatus{Heartbeat: 10 * time.Second, OpenWebUI: true, After: time.Second, Texts: proxy.English(), Language: proxy.LanguageEnglish},
		},
		Admin: AdminConfig{Listen: "127.0.0.1:9001"},
		NATS:  NATSConfig{Replicas: 1, Store: "file"},
		Redis: RedisConfig{FallbackReplicas: 1},
		Pools: []Pool{pool}, Share: []string{"class", "user"},
		Policy: policy.Defaults(), Load: turn.Marks{KVLow: 0.7, KVHigh: 0.9, WaitLow: 2 * time.Second, WaitHigh: 10 * time.Second},
		Identity: identity.Config{
			Forwarded: identity.DefaultForwarded(), LinkBy: "email", Anonymous: "allow", FailedCredentials: identity.Rate{N: 30, Per: time.Minute},
			LDAP: identity.LDAP{UserFilter: "(mail=%s)", User: "email", GroupAttribute: "memberOf", GroupMember: "dn", Cache: 5 * time.Minute},
		},
		History: History{24 * time.Hour, 720 * time.Hour, 8760 * time.Hour, false},
		Log:     LogConfig{"json", slog.LevelInfo},
		Tracing: Tracing{Sample: 0.01},
		Files:   []string{"fairlane.yaml"},
	}
	if diff := gocmp.Diff(want, c, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// Empty in every way that YAML knows.
func TestNothing(t *testing.T) {
	want := parse(t, "", nil)
	for _, text := range []string{"# a comment", "---\n", "~", "{}", "http:\npolicy:\npools:\nclasses: {vip: }\nlisten:\nidentity: {jwt: , api_keys: ~}\n\n", "\ufeff", "pools: [{}]"} {
		got := parse(t, text, nil)
		if diff := gocmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q: -want +got\n%s", text, diff)
		}
	}
}

func TestServer(t *testing.T) {
	c := parse(t, `
listen: 0.0.0.0:80
admin: {listen: ":9001", tokens: [{name: ops, token: "${OPS}", role: operator}, {name: wall, token: w}]}
metrics: {listen: ":9002"}
data_dir: /var/lib/fairlane
tls: {cert_file: certs/a.pem, key_file: /etc/a.key, client_ca_file: ca.pem}
http: {max_body: 1048576, read_header: 1s, read_body: 2m, idle: 1h, cors_origins: https://a.example.com, shutdown_grace: 1m30s}
nats: {url: "nats://u:pw@a:4222, tls://b:4222", creds_file: n.creds, replicas: 3, store: memory, sync: always, encryption_key: abcdef}
redis: {url: "redis://:pw@r:6379/1", fallback_replicas: 2}
share: user
queue: {max_bytes: 2GB, max_queued_per_user: 0}
queue_status: {heartbeat: 0, openwebui: false, after: 0s, language: zh}
log: {format: text, level: debug}
tracing: {otlp_endpoint: "http://otel:4318", sample: 1}
history: {usage: 7d}
`, map[string]string{"OPS": "operators' token"})
	c.Edge.Listen = ""
	wantEdge := proxy.Config{
		MaxBody: 1 << 20, MaxBytes: 2 << 30, ReadHeader: time.Second, ReadBody: 2 * time.Minute, Idle: time.Hour,
		Grace: 90 * time.Second, CORSOrigins: []string{"https://a.example.com"},
		QueueStatus: proxy.QueueStatus{Texts: proxy.Chinese(), Language: proxy.LanguageChinese},
	}
	check(t, "edge", wantEdge, c.Edge)
	check(t, "tls", TLSFiles{"certs/a.pem", "/etc/a.key", "ca.pem"}, c.TLS)
	check(t, "nats", NATSConfig{"nats://u:pw@a:4222, tls://b:4222", "n.creds", 3, "memory", true, "abcdef"}, c.NATS)
	check(t, "redis", RedisConfig{"redis://:pw@r:6379/1", "", 2}, c.Redis)
	check(t, "share", []string{"user"}, c.Share)
	check(t, "log", LogConfig{"text", slog.LevelDebug}, c.Log)
	check(t, "metrics", ":9002", c.Admin.MetricsListen)
	if len(c.Admin.Tokens) != 2 || c.Admin.Tokens[0].Token != "operators' token" || c.Admin.Tokens[1].Role != "viewer" || c.Policy.MaxQueuedPerUser != 0 {
		t.Errorf("%+v", c.Admin)
	}
	var keys []string
	for _, w := range c.Warnings {
		key, _, _ := strings.Cut(w, ": ")
		keys = append(keys, key)
	}
	check(t, "warnings", []string{"nats.sync", "nats.encryption_key", "history", "tracing.otlp_endpoint"}, keys)
}

func check[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	if diff := gocmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable()); diff != "" {
		t.Errorf("%s: -want +got\n%s", what, diff)
	}
}

// The features that are to come say so where somebody asks for them.
func TestWarnings(t *testing.T) {
	for text, want := range map[string]string{
		"tiers: [{classes: [vip], floor_below: 0}]": "tiers[0].floor_below: ",
		"policy: [{when: {user: [a, b, c]}, class: vip}, {when: {user: d}, class: standard}]\nclasses: {vip: {weight: 8}, standard: {weight: 3}}": "classes.vip.weight: ",
		"share: [user]\npolicy: [{when: {group: interns}, class: vip, weight: 0.1}]":                                                              "classes.vip.weight: ",
		"identity: {ldap: {url: 'ldap://l', base_dn: 'dc=x', bind_dn: 'cn=f', bind_password: sesame}}":                                            "identity.ldap.url: ",
		"nats: {url: 'nats://n', sync: always}":                                    "nats.sync: ",
		"pools: [{name: a, models: [m]}, {name: b, models: [n], aliases: {m: n}}]": "pools[1].aliases.m: ",
		"history: {usage: 7d}":                                                     "history: ",
		"redis: {fallback_replicas: 3}":                                            "redis.fallback_replicas: ",
		"tracing: {otlp_endpoint: 'https://o'}":                                    "tracing.otlp_endpoint: ",
		"nats: {encryption_key: sesame}":                                           "nats.encryption_key: ",
	} {
		got := parse(t, text, nil).Warnings
		if len(got) != 1 || !strings.HasPrefix(got[0], want) || strings.Contains(got[0], "sesame") {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestPools(t *testing.T) {
	c := parse(t, `
pools:
  - name: chat
    models: [a, b]
    aliases: {gpt-4: a}
    backends:
      - {url: "HTTP://GPU1:80/v1/", api_key: "${KEY}", slots: 64, kv_tokens: 100_000}
      - {url: "https://gpu2:443/vllm/", slots: 16}
      - {url: "dns+http://vllm.svc:8000"}
    adaptive: false
    pass_priority: false
    prefix_affinity: false
    cost: {cached: 0}
    timeouts: {total: 0, idle: 5s}
  - {name: embed, backends: [{url: "http://[::1]:8001"}]}
  - {name: empty, backends: []}
  - {name: look, backends: [{url: "${VLLM_URL:-}", slots: 3}]}
`, map[string]string{"KEY": "sesame"})
	p := c.Pools[0]
	check(t, "backends", []Backend{
		{"http://gpu1", "sesame", 64, 100000}, {"https://gpu2/vllm", "", 16, 0}, {"dns+http://vllm.svc:8000", "", 0, 0},
	}, p.Backends)
	check(t, "cost", scheduler.CostWeights{Input: 1, Output: 2}, p.Cost)
	check(t, "timeouts", Timeouts{2 * time.Second, 2 * time.Minute, 0, 5 * time.Second}, p.Timeouts)
	check(t, "aliases", map[string]string{"gpt-4": "a"}, p.Aliases)
	check(t, "slots", map[string]int{"chat": 64, "embed": 0}, c.Policy.MaxSlots)
	if p.Adaptive || p.PassPriority || p.PrefixAffinity || len(c.Pools[2].Backends)+len(c.Pools[3].Backends) > 0 || c.Pools[1].Backends[0].URL != "http://[::1]:8001" {
		t.Errorf("%+v", c.Pools)
	}
}

// VLLM_URL is the backend of a pool that lists none, and of no other.
func TestVLLMURL(t *testing.T) {
	vars := map[string]string{"VLLM_URL": "http://gpu:8000/"}
	for text, want := range map[string][]Backend{
		"":                        {{URL: "http://gpu:8000"}},
		"pools: [{models: [a]}]":  {{URL: "http://gpu:8000"}},
		"pools: [{backends: []}]": nil,
		"pools: [{backends: [{url: 'http://b'}]}]":    {{URL: "http://b"}},
		"pools: [{backends: [{url: '${VLLM_URL}'}]}]": {{URL: "http://gpu:8000"}},
	} {
		check(t, text, want, parse(t, text, vars).Pools[0].Backends)
	}
	for text, bad := range map[string]string{"pools: [{name: a}, {name: b}]": "http://gpu:8000", "": "gpu:8000"} {
		if _, err := Parse([]byte(text), "x.yaml", environment(t, map[string]string{"VLLM_URL": bad})); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestKeyFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "fairlane.yaml")
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	digest := strings.Repeat("ab", 32)
	write("fairlane.yaml", "identity: {api_keys: {file: keys.yaml}}\nadmin: {tokens: [{name: a, token: '${file:token}'}]}\n")
	write("token", "open sesame\n")
	write("keys.yaml", `
- {id: ci, sha256: `+digest+`, user: ci-bot@example.com, roles: [bot], groups: a, expires: 2027-01-01}
- {id: webui, sha256: `+strings.Repeat("cd", 32)+`, forwarder: true, expires: "2027-01-01T06:00:00+02:00"}
`)
	c, err := Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "keys", []identity.Key{
		{ID: "ci", SHA256: digest, User: "ci-bot@example.com", Roles: []string{"bot"}, Groups: []string{"a"}, Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)},
		{ID: "webui", SHA256: strings.Repeat("cd", 32), Forwarder: true, Expires: time.Date(2027, 1, 1, 4, 0, 0, 0, time.UTC)},
	}, c.Identity.APIKeys)
	check(t, "files", []string{file, filepath.Join(dir, "keys.yaml")}, c.Files)
	if !c.Identity.KeyFile || c.Admin.Tokens[0].Token != "open sesame" {
		t.Errorf("%+v", c.Identity)
	}
	write("more.yaml", "- {id: other, sha256: "+digest+"}")
	write("other.yaml", "identity: {api_keys: {file: more.yaml}}\nadmin: {tokens: [{name: a, token: open sesame}]}\n")
	if other, err := Load(filepath.Join(dir, "other.yaml"), nil); err != nil || len(c.Restart(other)) > 0 {
		t.Errorf("another key file: %v", err)
	}
	write("keys.yaml", "")
	if c, err = Load(file, nil); err != nil || !c.Identity.KeyFile || c.Identity.Open() {
		t.Errorf("an empty key file: %v", err)
	}
	write("keys.yaml", "[\n")
	if _, err = Load(file, nil); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "keys.yaml")+":") {
		t.Error(err)
	}
	write("token", strings.Repeat("x", maxSecret+1))
	if _, err = Load(file, nil); err == nil || !strings.Contains(err.Error(), "larger than 256KB") {
		t.Error(err)
	}
}

func TestIssuers(t *testing.T) {
	c := parse(t, `
identity:
  jwt:
    - {name: openwebui, header: X-OpenWebUI-User-Jwt, secret: "${S}", issuer: open-webui, email_claim: email, roles_claim: role}
    - {name: sso, jwks_url: "https://sso/certs", issuer: "https://sso", audience: fairlane, algorithms: RS256, user_claim: preferred_username, name_claim: n, groups_claim: groups, leeway: 1m}
  forwarded: {task: X-Job}
  link_by: none
  anonymous: deny
  trusted_proxies: [10.1.2.3/8, "fd00::1"]
`, map[string]string{"S": "sesame"})
	check(t, "issuers", []identity.Issuer{
		{
			Name: "openwebui", Header: "X-OpenWebUI-User-Jwt", Algorithms: []string{"HS256"}, Secret: "sesame", Issuer: "open-webui",
			UserClaim: "sub", EmailClaim: "email", NameClaim: "name", RolesClaim: "role", Leeway: 30 * time.Second,
		},
		{
			Name: "sso", Header: "Authorization", Algorithms: []string{"RS256"}, JWKSURL: "https://sso/certs", Issuer: "https://sso", Audience: "fairlane",
			UserClaim: "preferred_username", NameClaim: "n", GroupsClaim: "groups", Leeway: time.Minute,
		},
	}, c.Identity.JWT)
	forwarded := identity.DefaultForwarded()
	forwarded.Task = "X-Job"
	check(t, "forwarded", forwarded, c.Identity.Forwarded)
	if got := c.Identity.TrustedProxies; len(got) != 2 || got[0].String() != "10.0.0.0/8" || got[1].String() != "fd00::1/128" || c.Identity.LinkBy != "none" || c.Identity.Anonymous != "deny" {
		t.Errorf("%+v", c.Identity)
	}
}

func TestRestart(t *testing.T) {
	base := `
listen: ":9000"
pools: [{name: a, backends: [{url: "http://a"}]}, {name: b}]
identity: {jwt: [{name: x, secret: one}]}
admin: {tokens: [{name: ops, token: first}]}
`
	for name, tc := range map[string]struct {
		edit []string // old, new, …
		more string
		want []string
	}{
		"nothing":         {},
		"hot":             {edit: []string{"http://a", "http://other"}, more: "classes: {vip: {weight: 9}, gold: {}}\npolicy: []\nsizes: {heavy: {limits: 1/second}}\nqueue: {max_bytes: 2GB}\ndefault_class: gold"},
		"a key":           {edit: []string{":9000", ":9009"}, want: []string{"listen"}},
		"several":         {edit: []string{":9000", ":9009"}, more: "http: {idle: 1s}\nshare: [user]", want: []string{"http.idle", "listen"}},
		"a secret":        {edit: []string{"one", "two", "first", "second"}, want: []string{"admin.tokens[0].token", "identity.jwt[0].secret"}},
		"one more":        {edit: []string{"{name: b}", "{name: b}, {name: c}"}, want: []string{"pools"}},
		"one less":        {edit: []string{", {name: b}", ""}, want: []string{"pools"}},
		"another name":    {edit: []string{"{name: b}", "{name: c, adaptive: false}"}, want: []string{"pools[1].adaptive", "pools[1].name"}},
		"no issuer":       {edit: []string{"{name: x, secret: one}", ""}, want: []string{"identity.jwt"}},
		"another writing": {edit: []string{`":9000"`, "':9000'", "http://a", "http://a/v1"}, more: "http: {idle: 120s}"},
	} {
		t.Run(name, func(t *testing.T) {
			next := parse(t, strings.NewReplacer(tc.edit...).Replace(base)+tc.more, nil)
			old := parse(t, base, nil)
			check(t, "restart", tc.want, old.Restart(next))
			slices.Sort(tc.want)
			check(t, "the way back", tc.want, next.Restart(old))
		})
	}
}

func TestHot(t *testing.T) {
	base := `
pools: [{name: a, backends: [{url: "http://a"}]}, {name: b}]
policy: [{when: {role: boss}, class: vip}, {limits: 9/minute}]
queue: {max_bytes: 1GB}
`
	for name, tc := range map[string]struct {
		edit []string // old, new, …
		more string
		want []string
	}{
		"nothing":             {},
		"another writing":     {edit: []string{"http://a", "http://a/v1", "1GB", "1024MB"}},
		"cold":                {more: "listen: ':9009'\nadmin: {tokens: [{name: ops, token: first}]}"},
		"a rule":              {edit: []string{"9/minute", "8/minute"}, want: []string{"policy[1]"}},
		"a rule's when":       {edit: []string{"boss", "chief"}, want: []string{"policy[0]"}},
		"one rule less":       {edit: []string{", {limits: 9/minute}", ""}, want: []string{"policy"}},
		"a backend more":      {edit: []string{"{name: b}", `{name: b, backends: [{url: "http://b"}]}`}, want: []string{"pools[1].backends"}},
		"a key":               {edit: []string{`"http://a"`, `"http://a", api_key: k`}, want: []string{"pools[0].backends"}},
		"a pool more":         {edit: []string{"{name: b}", `{name: b}, {name: c, backends: [{url: "http://c"}]}`}},
		"pools change places": {edit: []string{`{name: a, backends: [{url: "http://a"}]}, {name: b}`, `{name: b}, {name: a, backends: [{url: "http://a"}]}`}},
		"several": {
			edit: []string{"1GB", "2GB"}, more: "classes: {vip: {weight: 9}}\ndefault_class: background\nsizes: {heavy: {limits: 1/second}}",
			want: []string{"classes.vip.weight", "default_class", "queue.max_bytes", "sizes.heavy.limits"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			next := parse(t, strings.NewReplacer(tc.edit...).Replace(base)+tc.more, nil)
			old := parse(t, base, nil)
			check(t, "hot", tc.want, old.Hot(next))
			check(t, "the way back", tc.want, next.Hot(old))
			later := old.Restart(next)
			old.Took(next)
			check(t, "restart after what is hot was taken", later, old.Restart(next))
			old.Pools, old.Policy, old.Identity = next.Pools, next.Policy, next.Identity
			check(t, "hot after it was taken", nil, old.Hot(next))
		})
	}
}
