package proxy

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"fairlane/scheduler"
)

// TestBackendsErrorsHaveTheShapeOfTheAPI has a backend's own 4xx in shapes that
// were seen, at paths of each API.
func TestBackendsErrorsHaveTheShapeOfTheAPI(t *testing.T) {
	const ours = `{"error":{"message":"too long","type":"BadRequestError","param":"input_tokens","code":400}}`
	const theirs = `{"type":"error","error":{"type":"invalid_request_error","message":"no"}}`
	const messages = `{"model":"org/m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`
	for name, c := range map[string]struct {
		path, body string
		status     int
		media      string
		answer     string
		want       []string // the whole answer, or parts of it
	}{
		"OpenAI's":                    {chatPath, chatBody, 400, "application/json", ours, []string{ours}},
		"OpenAI's at Anthropic's":     {"/v1/messages", messages, 400, "application/json", ours, []string{`"type":"error"`, `"message":"too long"`}},
		"Anthropic's":                 {"/v1/messages", messages, 400, "application/json", theirs, []string{theirs}},
		"no such path at the backend": {"/v1/embeddings", `{"model":"org/m","input":"x"}`, 404, "application/json", `{"detail":"Not Found"}`, []string{"the model `org/m` does not offer embeddings", `"not_found"`}},
		"a detail":                    {chatPath, chatBody, 400, "application/json", `{"detail":"There was an error parsing the body"}`, []string{`"error":{`, `"message":"There was an error parsing the body"`}},
		"HTML":                        {chatPath, chatBody, 404, "text/html", "<html>no</html>", []string{`"error":{`, `"message":"the model server answered 404"`}},
		"endless":                     {chatPath, chatBody, 400, "application/json", `{"error":{"message":"` + strings.Repeat("x", maxLate) + `"}}`, []string{`"error":{`}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFakes()
				f.answers(granted(), head(c.status, c.media), data(c.answer[:len(c.answer)/2]), data(c.answer[len(c.answer)/2:]), end(scheduler.Invalid))
				w := ask(f.server(t, Config{}), "POST", c.path, c.body)
				if w.Code != c.status || w.Header().Get("Content-Type") != "application/json" {
					t.Errorf("%d %s", w.Code, w.Header())
				}
				for _, want := range c.want {
					if got := w.Body.String(); !strings.Contains(got, want) {
						t.Errorf("got %.300s, want %s", got, want)
					}
				}
				f.once(t, scheduler.Invalid)
			})
		})
	}
}

// TestTheOnlyModelIsNamedWhereTheBackendWantsItsName asks Anthropic's API without one.
func TestTheOnlyModelIsNamedWhereTheBackendWantsItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakes()
		var sub *scheduler.Submission
		f.submit = func(_ context.Context, s *scheduler.Submission) (scheduler.Call, error) {
			sub = s
			return newFakeCall(granted(), head(200, "application/json"), data("{}"), end(scheduler.Completed)), nil
		}
		if w := ask(f.server(t, Config{}), "POST", "/v1/messages", `{"max_tokens":5,"messages":[]}`); w.Code != 200 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		if !strings.Contains(string(sub.Body), `"model":"org/m"`) {
			t.Errorf("the backend gets %s", sub.Body)
		}
	})
}
