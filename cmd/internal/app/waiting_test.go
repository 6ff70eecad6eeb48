package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// queueOf is what somebody's GET /v1/queue tells: state and position, in order.
func (in *installation) queueOf(user string) []string {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), http.MethodGet, in.app.EdgeURL()+"/v1/queue", http.NoBody)
	if err != nil {
		in.t.Fatal(err)
	}
	req.Header.Set("X-OpenWebUI-User-Id", user)
	resp, err := client().Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	a := read(in.t, resp)
	var list struct {
		Data []struct {
			Model, State string
			Position     *int
		}
		Unknown []string
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != http.StatusOK || len(list.Unknown) > 0 {
		in.t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	out := []string{}
	for _, d := range list.Data {
		s := d.State
		if d.Position != nil {
			s += fmt.Sprint(" ", *d.Position)
		}
		out = append(out, s)
	}
	return out
}

// TestWhoWaitsSeesIt from Open WebUI's chat and from /v1/queue, in the admin's words,
// until the answer begins.
func TestWhoWaitsSeesIt(t *testing.T) {
	release := make(chan struct{})
	m := newModel(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "first") {
			<-release
			whole(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n\n")
	})
	in := install(t, m.pool(1)+`queue_status: {after: 1ms, language: {no_estimate: "Platz {position}", waiting: "Platz {position}, etwa {time}"}}`)
	in.ready()
	first := make(chan answer, 1)
	go func() { first <- in.post("/v1/chat/completions", chatOf("first"), "X-OpenWebUI-User-Id", "bob") }()
	in.until("the first runs", func() bool { return fmt.Sprint(in.queueOf("bob")) == "[running]" })
	resp, err := client().Do(request(t.Context(), t, in.app.EdgeURL()+"/v1/chat/completions", streamOf("second"), "X-OpenWebUI-User-Id", "ann", "X-Message-Id", "m1"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("X-Fairlane-Queue-Position") != "1" {
		t.Errorf("the place at arrival is not there: %v", resp.Header)
	}
	lines := bufio.NewReader(resp.Body)
	line, err := lines.ReadString('\n')
	if err != nil || !strings.Contains(line, `"description":"Platz 1`) || !strings.Contains(line, `"done":false`) {
		t.Errorf("the status is %q, %v", line, err)
	}
	if got := fmt.Sprint(in.queueOf("ann"), in.queueOf("bob"), in.queueOf("eve")); got != "[waiting 1] [running] []" {
		t.Errorf("they see %s", got)
	}
	close(release)
	rest, err := io.ReadAll(lines)
	if err != nil {
		t.Fatal(err)
	}
	hidden := `"done":true,"hidden":true`
	before, after, answered := strings.Cut(string(rest), `"content":"hi"`)
	if !answered || !strings.Contains(before, hidden) || strings.Count(after, hidden) != 1 || !strings.HasSuffix(after, "data: [DONE]\n\n") {
		t.Errorf("then %s", rest)
	}
	if a := <-first; a.status != http.StatusOK || a.header.Get("X-Fairlane-Queue-Position") != "0" || a.header.Get("X-Fairlane-Wait-Ms") == "" {
		t.Errorf("the first got %d %v", a.status, a.header)
	}
	late := in.post("/v1/chat/completions", chatOf("x"), "X-Request-Timeout", "soon")
	if late.status != http.StatusBadRequest {
		t.Errorf("a wrong timeout: %d %s", late.status, late.body)
	}
}
