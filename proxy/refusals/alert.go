package refusals

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/scheduler"
)

// Who an alert can go to.
const (
	ToWeCom    = "wecom"
	ToFeishu   = "feishu"
	ToDingTalk = "dingtalk"
	ToSlack    = "slack"
	ToWebhook  = "webhook"
)

// Alert tells somebody when one user is refused more than Over times in Window.
type Alert struct {
	Over   int
	Window time.Duration
	To     string
	URL    string // a secret: whoever knows it may write there
	Name   string // of the rule, as the admin wrote it: the claims of two are apart
}

func (a *Alert) key(user string) string {
	return a.Name + "\x00" + a.To + "\x00" + a.URL + "\x00" + user
}

const (
	attempts    = 6
	sendTimeout = 10 * time.Second
	mostWaiting = 64      // alerts for one receiver
	mostReply   = 4 << 10 // bytes of what a receiver says that are looked at
)

// post sends the alerts of one rule, one after the other.
type post struct {
	alert   Alert
	queue   chan Refused
	client  *http.Client
	backoff time.Duration
	sent    prometheus.Counter
	failed  prometheus.Counter
	logger  *slog.Logger
}

func newPost(a Alert, cfg *Config, counted *prometheus.CounterVec) *post {
	p := &post{
		alert: a, queue: make(chan Refused, mostWaiting), backoff: cfg.backoff, logger: cfg.Logger,
		sent: counted.WithLabelValues(a.To, "sent"), failed: counted.WithLabelValues(a.To, "failed"),
		client: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment}, // its own, which Stop may close
			Timeout:       sendTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if p.backoff == 0 {
		p.backoff = time.Second
	}
	return p
}

// put hands an alert over. It never blocks.
func (p *post) put(who Refused) {
	select {
	case p.queue <- who:
	default:
		p.failed.Inc()
		p.logger.Warn("an alert is dropped: too many wait for its receiver", slog.String("to", p.alert.To), slog.String("user_key", who.UserKey))
	}
}

func (p *post) run(ctx context.Context) {
	defer p.client.CloseIdleConnections()
	for {
		select {
		case <-ctx.Done():
			return
		case who := <-p.queue:
			p.deliver(ctx, &who)
		}
	}
}

// deliver sends until it has arrived, with pauses that double.
func (p *post) deliver(ctx context.Context, who *Refused) {
	attrs := []slog.Attr{slog.String("to", p.alert.To), slog.String("user_key", who.UserKey), slog.String("user_name", who.UserName), slog.Int("refusals", who.Refusals)}
	body, err := p.alert.body(who)
	pause := p.backoff
	for i := 0; err == nil && i < attempts; i++ {
		if i > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			pause *= 2
		}
		var lost error
		if lost = p.send(ctx, body); lost == nil {
			p.sent.Inc()
			p.logger.LogAttrs(ctx, slog.LevelInfo, "an alert was sent", attrs...)
			return
		}
		if i == attempts-1 {
			err = lost
		}
	}
	if ctx.Err() == nil {
		p.failed.Inc()
		p.logger.LogAttrs(ctx, slog.LevelWarn, "an alert could not be sent", append(attrs, slog.Any("error", err))...)
	}
}

// send posts once. No error has the URL in it.
func (p *post) send(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.alert.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("its URL is none")
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := p.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, mostReply))
	if err != nil {
		return fmt.Errorf("read what it says: %w", err)
	}
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("it answered %d", resp.StatusCode)
	}
	return p.alert.accepted(reply)
}

// accepted looks at what a receiver says: some answer 200 and an error in it.
func (a *Alert) accepted(reply []byte) error {
	var said struct {
		ErrCode int `json:"errcode"` // WeCom and DingTalk
		Code    int `json:"code"`    // Feishu
	}
	switch a.To {
	case ToWeCom, ToDingTalk, ToFeishu:
		if err := json.Unmarshal(reply, &said); err != nil {
			return errors.New("it answered what it should not")
		}
	default:
		return nil
	}
	if code := said.ErrCode + said.Code; code != 0 {
		return fmt.Errorf("it answered with error %d", code)
	}
	return nil
}

// body is the alert as its receiver wants it.
func (a *Alert) body(who *Refused) ([]byte, error) {
	text := a.text(who)
	switch a.To {
	case ToWeCom, ToDingTalk:
		return json.Marshal(map[string]any{"msgtype": "text", "text": map[string]string{"content": text}})
	case ToFeishu:
		return json.Marshal(map[string]any{"msg_type": "text", "content": map[string]string{"text": text}})
	case ToSlack:
		return json.Marshal(map[string]string{"text": strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)})
	default:
		return json.Marshal(struct {
			Alert   string `json:"alert"`
			WindowS int    `json:"window_s"`
			Text    string `json:"text"`
			Refused
		}{a.Name, int(a.Window.Seconds()), text, *who})
	}
}

// text is the alert for people: with name and email, on one line.
func (a *Alert) text(who *Refused) string {
	name := plain(who.UserName)
	if email := plain(who.Email); email != "" && !strings.EqualFold(email, name) {
		name = strings.TrimSpace(name + " <" + email + ">")
	}
	if name == "" {
		name = plain(who.UserKey)
	}
	text := fmt.Sprintf("fairlane: %s was refused %d times within %s, which is more than %d.", name, who.Refusals, scheduler.Words(a.Window), a.Over)
	if who.Limit != "" {
		return text + " The last limit was " + plain(who.Limit) + " (" + plain(who.Reason) + ")."
	}
	return text + " The last reason was " + plain(who.Reason) + "."
}

// plain is a text of somebody else's, without what would break a line, and not long.
func plain(s string) string {
	const most = 100
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return s
}
