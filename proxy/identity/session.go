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
	sessionWait    = 3 * time.Second  // of a request whose session is not known
	sessionFresh   = time.Minute      // so long a session is not asked about again: no longer lives one that was ended
	sessionGood    = 5 * time.Minute  // while Open WebUI does not answer
	strangerFresh  = 10 * time.Second // of a token that Open WebUI does not know
	maxSessionBody = 4 << 20          // a picture of the person may be in it
	openWebUIKey   = "sk-"            // how API keys of Open WebUI begin
)

// Where Open WebUI says who somebody is. Since 0.12 the first is for sessions alone,
// and answers an API key that is good with 403.
const (
	sessionPath = "/api/v1/auths/"
	keyPath     = "/api/v1/users/user/status"
	groupsPath  = "/api/v1/users/groups?include_inherited=true"
)

// session is what Open WebUI says about a token.
type session struct {
	ID    string `json:"id"`
	Email string `json:"email"`
	Name  string `json:"name"`
	Role  string `json:"role"`

	groups  []string // names, then ids
	refused Reason   // why nobody is let in by it
}

// sessions asks Open WebUI whom a token belongs to.
type sessions struct {
	url    string
	client http.Client
	memo   *memo[session]
	flow   flow
}

func newSessions(url string, client *http.Client, tell func(error)) *sessions {
	s := &sessions{url: strings.TrimRight(url, "/"), client: *client, memo: newMemo[session](sessionWait, tell)}
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
	found, err := s.whose(ctx, token)
	if err == nil && found.refused == "" {
		found.groups, err = s.groupsOf(ctx, token)
	}
	switch {
	case err != nil:
		return answer[session]{}, err
	case found.refused != "":
		return answer[session]{value: found, fresh: strangerFresh}, nil
	}
	return answer[session]{value: found, fresh: sessionFresh, good: sessionGood}, nil
}

// whose is who Open WebUI says that the token belongs to.
func (s *sessions) whose(ctx context.Context, token string) (session, error) {
	path := sessionPath
	status, body, err := s.get(ctx, path, token)
	if status == http.StatusForbidden && strings.HasPrefix(token, openWebUIKey) {
		path = keyPath
		status, body, err = s.get(ctx, path, token)
	}
	switch {
	case err != nil:
		return session{}, err
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound && path == keyPath:
		return session{refused: ReasonUnknownKey}, nil
	case status != http.StatusOK:
		return session{}, fmt.Errorf("%w: %s%s answers %d", errAnswered, s.url, path, status)
	}
	found, err := readSession(body)
	if err != nil {
		return session{}, fmt.Errorf("%w: %s%s: %w", errAnswered, s.url, path, err)
	}
	return found, nil
}

// groupsOf are the names and then the ids of the groups that somebody is in. An
// Open WebUI that is too old to tell, or lets no API key ask, tells of none.
func (s *sessions) groupsOf(ctx context.Context, token string) ([]string, error) {
	status, body, err := s.get(ctx, groupsPath, token)
	switch {
	case err != nil:
		return nil, err
	case status >= http.StatusInternalServerError, status == http.StatusTooManyRequests:
		return nil, fmt.Errorf("%w: %s%s answers %d", errAnswered, s.url, groupsPath, status)
	case status != http.StatusOK:
		return nil, nil
	}
	var list []struct{ ID, Name string }
	_ = json.Unmarshal(body, &list) // a page, where there is no such address
	var names, ids []string
	for _, g := range list[:min(len(list), maxList/2)] {
		if id := clean(g.ID, maxGroup); id != "" {
			ids = append(ids, id)
		}
		if name := clean(g.Name, maxGroup); name != "" {
			names = append(names, name)
		}
	}
	return append(names, ids...), nil
}

// get asks with the caller's own token. What is no JSON has no body here.
func (s *sessions) get(ctx context.Context, path, token string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		return 0, nil, fmt.Errorf("the Open WebUI of identity.openwebui_sessions: %w", err)
	}
	req.Header.Set(authorization, "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("the Open WebUI of identity.openwebui_sessions: %w", err)
	}
	defer resp.Body.Close()
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return resp.StatusCode, nil, nil
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxSessionBody+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("%w: %s%s: %w", errAnswered, s.url, path, err)
	case len(body) > maxSessionBody:
		return 0, nil, fmt.Errorf("%w: the answer of %s%s is longer than %d bytes", errAnswered, s.url, path, maxSessionBody)
	}
	return resp.StatusCode, body, nil
}

func readSession(body []byte) (session, error) {
	if body == nil {
		return session{}, errors.New("the answer is no JSON")
	}
	var found session
	if err := json.Unmarshal(body, &found); err != nil {
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
