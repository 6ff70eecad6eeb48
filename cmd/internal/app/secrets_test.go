package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fairlane/proxy/identity"
)

const (
	prompt  = "MARKED-PROMPT"
	answers = "MARKED-ANSWER"
	apiKey  = "MARKED-KEY-0123456789"
	wrong   = "MARKED-GUESS-0123456789"
)

// indiscreet repeats its prompt in all that a model server may say.
func indiscreet(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	said := string(body)
	switch {
	case strings.Contains(said, "to be refused"):
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"error":{"message":%q}}`, said)
	case strings.Contains(said, "to fail"):
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, said)
	case strings.Contains(said, "to be garbled"):
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, said+answers)
	case strings.Contains(said, "to break off"):
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\ndata: {%q", answers, prompt)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case strings.Contains(said, "to be left"):
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", answers)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"choices":[{"index":0,"message":{"content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`, answers)
	}
}

// TestNothingThatIsSecretIsWritten has requests end in every way, with each way to be
// known, at the level of the log that says most: neither a prompt nor an answer nor a
// credential stands in it, nor in any file of the store.
func TestNothingThatIsSecretIsWritten(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	token, err := identity.Mint(secret, identity.Token{Subject: "u-1", Email: "ann@example.com", Lifetime: time.Hour}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m := newModel(t, indiscreet)
	in := install(t, "log: {level: debug}\n"+m.pool(4)+"identity:\n  jwt: [{name: idp, secret: "+secret+"}]\n"+keyFile(t, apiKey))
	in.ready()
	for _, bearer := range []string{apiKey, token, wrong, token + "x", "Bearer " + apiKey} {
		for _, text := range []string{"", "to be refused", "to fail", "to be garbled", "to break off"} {
			body := chatOf(prompt + text)
			body["stream"] = text == "to break off"
			in.post("/v1/chat/completions", body, "Authorization", "Bearer "+bearer)
		}
	}
	for path, body := range map[string]any{
		"/v1/chat/completions": map[string]any{"messages": prompt, "n": prompt, "tools": prompt},
		"/v1/completions":      map[string]any{"prompt": prompt, "max_tokens": prompt},
		"/v1/embeddings":       map[string]any{"input": prompt},
		"/tokenize":            map[string]any{"prompt": prompt},
		"/v1/responses":        map[string]any{"input": prompt, "background": true},
	} {
		in.post(path, body, "x-api-key", apiKey)
	}
	in.leaves(streamOf(prompt+"to be left"), "Authorization", "Bearer "+apiKey)
	in.until("all are over", func() bool { return len(in.lines("request")) >= 31 })
	outcomes := map[any]int{}
	for _, line := range in.lines("request") {
		outcomes[line["outcome"]]++
	}
	if outcomes["completed"] == 0 || outcomes["invalid"] == 0 || outcomes["failed"] == 0 || outcomes["cancelled"] == 0 {
		t.Errorf("requests did not end in every way: %v", outcomes)
	}
	in.app.Stop()
	log, marks := in.log.String(), []string{prompt, answers, apiKey, wrong, token, secret, token[strings.LastIndexByte(token, '.')+1:]}
	if !strings.Contains(log, `"level":"DEBUG"`) {
		t.Error("the log does not say all that it could")
	}
	for _, mark := range marks {
		if i := strings.Index(log, mark); i >= 0 {
			t.Errorf("the log has %q: %s", mark, log[max(0, i-300):min(len(log), i+100)])
		}
	}
	in.holdsNone(marks)
}

// leaves asks for a stream and is gone after its first line.
func (in *installation) leaves(body any, header ...string) {
	in.t.Helper()
	ctx, cancel := context.WithCancel(in.t.Context())
	defer cancel()
	resp, err := client().Do(request(ctx, in.t, in.app.EdgeURL()+"/v1/chat/completions", body, header...))
	if err != nil {
		in.t.Fatal(err)
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		in.t.Fatalf("%q %v", line, err)
	}
}

// holdsNone looks through the files of the store.
func (in *installation) holdsNone(marks []string) {
	in.t.Helper()
	files := 0
	err := filepath.WalkDir(filepath.Join(filepath.Dir(in.file), "data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		content, err := os.ReadFile(path)
		for _, mark := range marks {
			if strings.Contains(string(content), mark) {
				in.t.Errorf("%s has %q", path, mark)
			}
		}
		return err
	})
	if err != nil || files == 0 {
		in.t.Errorf("%d files, %v", files, err)
	}
}
