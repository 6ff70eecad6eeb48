// Package doctor looks at a running installation from outside, as its users
// meet it, and says what to change. It sends a handful of one-token requests and
// changes nothing.
package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"fairlane/proxy/admin"
)

// Level is how bad a finding is.
type Level int

// The levels.
const (
	OK   Level = iota
	Hint       // it works, and could work better
	Bad        // somebody is not served, or not as the administrator means it
)

// Finding is one thing that was looked at.
type Finding struct {
	Level  Level
	What   string // what was looked at
	Seen   string // what was seen
	Remedy string // what to change; empty if nothing
}

// Backend is one to look at directly.
type Backend struct {
	URL, APIKey string
}

// Config says where to look.
type Config struct {
	Edge       string // base URL of the edge
	Admin      string // base URL of the admin port
	AdminToken string
	Backends   []Backend
	Redis      func(context.Context) error // nil: none is configured
	LDAP       func(context.Context) error // the same
	Sessions   func(context.Context) error // of Open WebUI, the same
	Client     *http.Client
}

// Doctor looks.
type Doctor struct{ cfg Config }

// New makes a doctor.
func New(cfg Config) *Doctor {
	if cfg.Client == nil {
		cfg.Client = &http.Client{Timeout: 20 * time.Second}
	}
	return &Doctor{cfg}
}

// Look examines everything, in the order of a request's way.
func (d *Doctor) Look(ctx context.Context) []Finding {
	out := []Finding{d.edge(ctx)}
	status, err := d.status(ctx)
	if err != nil {
		out = append(out, Finding{Bad, "admin port", err.Error(), "start fairlane, or name its admin port with --admin and a token with --token"})
	} else {
		out = append(out, own(status)...)
	}
	for _, b := range d.cfg.Backends {
		out = append(out, d.backend(ctx, b)...)
	}
	if d.cfg.Redis != nil {
		out = append(out, redis(d.cfg.Redis(ctx)))
	}
	if d.cfg.LDAP != nil {
		out = append(out, asked("LDAP", d.cfg.LDAP(ctx), "check identity.ldap; until then people have the groups that they come with"))
	}
	if d.cfg.Sessions != nil {
		out = append(out, asked("sessions of Open WebUI", d.cfg.Sessions(ctx), "check identity.openwebui_sessions.url; until then its tokens are answered with 503"))
	}
	return out
}

func asked(who string, err error, remedy string) Finding {
	if err != nil {
		return Finding{Bad, who, err.Error(), remedy}
	}
	return Finding{OK, who, "it answers", ""}
}

func redis(err error) Finding {
	if err != nil {
		return Finding{Bad, "Redis", err.Error(), "check redis.url; until then every replica limits on its own"}
	}
	return Finding{OK, "Redis", "it answers", ""}
}

func (d *Doctor) edge(ctx context.Context) Finding {
	code, body, err := d.call(ctx, http.MethodGet, d.cfg.Edge+"/readyz", "", nil)
	switch {
	case err != nil:
		return Finding{Bad, "edge", err.Error(), "start fairlane, or name the edge with --edge"}
	case code != http.StatusOK:
		return Finding{Bad, "edge", fmt.Sprintf("/readyz answers %d: %s", code, firstLine(body)), "see the log of fairlane"}
	default:
		return Finding{OK, "edge", "it is ready at " + d.cfg.Edge, ""}
	}
}

func (d *Doctor) status(ctx context.Context) (*admin.Status, error) {
	code, body, err := d.call(ctx, http.MethodGet, d.cfg.Admin+"/api/v1/status", d.cfg.AdminToken, nil)
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("%s answers %d: %s", d.cfg.Admin, code, firstLine(body))
	}
	var s admin.Status
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", d.cfg.Admin, err)
	}
	return &s, nil
}

// own is what fairlane says of itself.
func own(s *admin.Status) []Finding {
	var out []Finding
	if s.NATS.Up {
		out = append(out, Finding{OK, "JetStream", kind(s.NATS.Embedded) + ", it answers", ""})
	} else {
		out = append(out, Finding{Bad, "JetStream", kind(s.NATS.Embedded) + ": " + s.NATS.Detail, "check the disk under data_dir, or nats.url"})
	}
	if s.Config.Error != "" {
		out = append(out, Finding{Bad, "configuration", s.Config.Error, "mend the file: the one before it is still in force"})
	}
	for _, w := range s.Config.Warnings {
		out = append(out, Finding{Hint, "configuration", w, ""})
	}
	if s.Identity.OpenMode {
		out = append(out, Finding{
			Hint, "identity", "open mode: nothing is verified, anybody may claim to be anybody",
			"set identity.api_keys.file and mark Open WebUI's key as forwarder: true, or set identity.jwt with its secret",
		})
	}
	out = append(out, traffic(s)...)
	for _, f := range s.Identity.Findings {
		out = append(out, Finding{Hint, "Open WebUI through " + f.Forwarder, f.Problem, f.Remedy})
	}
	for _, p := range s.Pools {
		out = append(out, pool(p)...)
	}
	return out
}

func kind(embedded bool) string {
	if embedded {
		return "embedded"
	}
	return "external"
}

func pool(p admin.Pool) []Finding {
	var out []Finding
	for _, b := range p.Backends {
		what := fmt.Sprintf("backend %s of the pool %s", b.URL, p.Name)
		switch {
		case !b.Up:
			out = append(out, Finding{Bad, what, b.Detail, "start it, or mend pools[].backends[].url"})
		case !b.Scraped:
			out = append(out, Finding{Hint, what, "its /metrics is missing or not vLLM's, so its memory is not seen", "set kv_tokens and slots of the backend by hand"})
		default:
			out = append(out, Finding{OK, what, fmt.Sprintf("up, models %v, %d slots", b.Models, b.Slots), ""})
		}
		if b.Up && b.Scraped && !b.PrefixCache {
			out = append(out, Finding{Hint, what, "prefix caching is off", "start vLLM with --enable-prefix-caching: Open WebUI sends the same 5,000 tokens of tools with every chat"})
		}
	}
	for _, s := range p.Suspects {
		out = append(out, Finding{
			Bad, "pool " + p.Name,
			fmt.Sprintf("the request %s of %s (model %s, about %d tokens) was in flight at two deaths of a backend", s.RequestID, s.UserKey, s.Model, s.InputTokens),
			"look into vLLM's log at " + s.At.Format(time.RFC3339),
		})
	}
	return out
}

// call makes one request and reads a bounded answer.
func (d *Doctor) call(ctx context.Context, method, url, bearer string, body any) (int, []byte, error) {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, in)
	if err != nil {
		return 0, nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := d.cfg.Client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, out, err
}

func firstLine(b []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(b), []byte("\n"))
	return string(line[:min(len(line), 200)])
}
