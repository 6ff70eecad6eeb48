// Package client asks an OpenAI-compatible server on behalf of people, who are told
// apart by the headers with which Open WebUI forwards them.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Person is somebody who asks. Without a name it is nobody in particular.
type Person struct {
	Name   string
	Role   string // in Open WebUI; may be empty
	Groups []string
}

// New makes a client that keeps so many connections to a server.
func New(connections int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
}

// Post sends a request of somebody. What comes may be a refusal.
func Post(ctx context.Context, c *http.Client, url string, who Person, request any) (*http.Response, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	set := func(header, value string) {
		if value != "" {
			req.Header.Set(header, value)
		}
	}
	if who.Name != "" {
		set("X-OpenWebUI-User-Id", who.Name)
		set("X-OpenWebUI-User-Email", who.Name+"@example.com")
	}
	set("X-OpenWebUI-User-Role", who.Role)
	set("X-User-Groups", strings.Join(who.Groups, ","))
	return c.Do(req)
}

// Chat is a chat of one message.
func Chat(text string) []any { return []any{map[string]string{"role": "user", "content": text}} }

// Refusal is an answer that is not the one that was asked for, in its own words.
func Refusal(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("status %d: %s (%w)", resp.StatusCode, bytes.TrimSpace(body), err)
	}
	return fmt.Errorf("status %d: %s", resp.StatusCode, bytes.TrimSpace(body))
}
