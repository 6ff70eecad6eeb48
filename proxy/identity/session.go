package identity

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	sessionFresh   = time.Minute      // so long a session is not asked about again: no longer lives one that was ended
	sessionGood    = 5 * time.Minute  // while Open WebUI does not answer
	strangerFresh  = 10 * time.Second // of a token that Open WebUI does not know
	maxSessionBody = 4 << 20          // a picture of the person may be in it
	openWebUIKey   = "sk-"            // how API keys of Open WebUI begin
	openWebUIName  = "Open WebUI"
)

// session is what Open WebUI says about a token.
type session struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Name  string `json:"name"`
	Role  string `json:"role"`

	refused Reason // why nobody is let in by it
}

// sessions asks Open WebUI whom a token belongs to.
type sessions struct {
	url    string
	client http.Client
	memo   *memo[session]
	flow   flow
}

func newSessions(url string, client *http.Client, tell func(error)) *sessions {
	s := &sessions{url: strings.TrimRight(url, "/") + "/api/v1/auths/", client: *client, memo: newMemo[session](patience, tell)}
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.client.Jar = nil // an answer sets cookies
	s.flow.name = "openwebui-session"
	return s
}

// maySession reports whether a bearer looks like one that Open WebUI gives out.
func maySession(token string) bool {
	return looksLikeToken(token) || strings.HasPrefix(token, openWebUIKey)
}

// find is whose token it is. With known set nobody is asked about a token that is
// not known yet.
func (s *sessions) find(ctx context.Context, token string, known bool) (session, error) {
	sum := sha256.Sum256([]byte(token))
	key := string(sum[:])
	if known && !s.memo.knows(key) {
		return session{refused: ReasonUnknownKey}, nil
	}
	return s.memo.get(ctx, key, func(ctx context.Context) (answer[session], error) { return s.ask(ctx, token) })
}

// ask lets nobody in but by an answer that says who it is.
func (s *sessions) ask(ctx context.Context, token string) (answer[session], error) {
	none := answer[session]{}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, http.NoBody)
	if err != nil {
		return none, fmt.Errorf("the Open WebUI of identity.openwebui_sessions: %w", err)
	}
	req.Header.Set(authorization, "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return none, fmt.Errorf("the Open WebUI of identity.openwebui_sessions: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return answer[session]{value: session{refused: ReasonUnknownKey}, fresh: strangerFresh}, nil
	default:
		return none, fmt.Errorf("%w: %s answers %s", errAnswered, s.url, resp.Status)
	}
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return none, fmt.Errorf("%w: %s answers no JSON", errAnswered, s.url)
	}
	found, err := readSession(resp.Body)
	if err != nil {
		return none, fmt.Errorf("%w: %s: %w", errAnswered, s.url, err)
	}
	if found.refused != "" {
		return answer[session]{value: found, fresh: strangerFresh}, nil
	}
	return answer[session]{value: found, fresh: sessionFresh, good: sessionGood}, nil
}

func readSession(body io.Reader) (session, error) {
	data, err := io.ReadAll(io.LimitReader(body, maxSessionBody+1))
	switch {
	case err != nil:
		return session{}, err
	case len(data) > maxSessionBody:
		return session{}, fmt.Errorf("the answer is longer than %d bytes", maxSessionBody)
	}
	var found session
	if err := json.Unmarshal(data, &found); err != nil {
		return session{}, fmt.Errorf("the answer is no session: %w", err)
	}
	if clean(found.ID, maxID) == "" {
		return session{}, errors.New("the answer names nobody")
	}
	if role := strings.ToLower(strings.TrimSpace(found.Role)); role == "" || role == "pending" {
		found.refused = ReasonNotAdmitted // who waits there to be let in is not let in here
	}
	return found, nil
}

// CheckSessions asks about a token that cannot be one, and says what does not work.
func CheckSessions(ctx context.Context, url string) error {
	s := newSessions(url, &http.Client{Timeout: fetchTimeout}, func(error) {})
	defer s.memo.stop()
	got, err := s.ask(ctx, openWebUIKey+"fairlane-doctor")
	switch {
	case err != nil:
		return err
	case got.value.refused == "":
		return fmt.Errorf("%s lets a token in that cannot be one", s.url)
	}
	return nil
}
