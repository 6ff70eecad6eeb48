package identity

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"fairlane/scheduler"
)

// The sources of what a request does not say itself.
const (
	sourceLDAP     = "ldap"
	sourceSessions = "openwebui_sessions"
)

// consult prepares what asks others.
func (i *Identifier) consult(deps Deps) error {
	i.lookups = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairlane_identity_lookups_total", Help: "Requests by what LDAP or Open WebUI, or the memory of their answers, said about who sends them.",
	}, []string{"source", "result"})
	if deps.Metrics != nil {
		if err := deps.Metrics.Register(i.lookups); err != nil {
			return err
		}
	}
	if url := i.cfg.OpenWebUISessions; url != "" {
		i.sessions = newSessions(url, deps.Client, i.source(sourceSessions, "tokens that are not known yet are answered with 503"))
	}
	if i.cfg.LDAP.URL != "" {
		i.groupsOf = newDirectory(i.cfg.LDAP, deps.LDAPRoots, i.source(sourceLDAP, "people have the groups that were known, or those that they come with"))
	}
	return nil
}

// source logs that a server is away, and that it is back.
func (i *Identifier) source(name, until string) func(error) {
	return func(err error) {
		if err != nil {
			i.logger.LogAttrs(context.Background(), slog.LevelWarn, "a source of identities does not answer as it should",
				slog.String("source", name), slog.Any("error", err), slog.String("until_then", until))
			return
		}
		i.logger.LogAttrs(context.Background(), slog.LevelInfo, "a source of identities answers again", slog.String("source", name))
	}
}

// looked counts what came of a look-up.
func (i *Identifier) looked(source string, found bool, err error) {
	result := "none"
	switch {
	case errors.Is(err, errLate):
		result = "late"
	case err != nil:
		result = "failed"
	case found:
		result = "found"
	}
	i.lookups.WithLabelValues(source, result).Inc()
}

// addGroups adds what LDAP says to the groups of somebody who is known. It never
// takes anything away, and says nothing of who it is.
func (i *Identifier) addGroups(ctx context.Context, id *Identity) {
	if i.groupsOf == nil || id.Anonymous || id.Nobody {
		return
	}
	groups, err := i.groupsOf.groups(ctx, id)
	i.looked(sourceLDAP, len(groups) > 0, err)
	if len(groups) > 0 {
		id.Groups = slices.Concat(id.Groups, groups)
	}
}

// claimed reports whether a token is one of an issuer of ours, who alone judges it.
func (i *Identifier) claimed(token string) bool {
	if !i.readsBearers() || !looksLikeToken(token) {
		return false
	}
	iss, _, ok := peek(token)
	return ok && slices.ContainsFunc(i.byHeader[authorization], func(s *issuer) bool { return s.signs(iss) })
}

// bySession asks Open WebUI who a token belongs to. For an address that too many
// credentials have failed from nobody is asked any more.
func (i *Identifier) bySession(id *Identity, r *http.Request, token string) (*Identity, *scheduler.Problem) {
	found, err := i.sessions.find(r.Context(), token, i.failures.wait(id.Addr) > 0)
	i.looked(sourceSessions, found.refused == "" && err == nil, err)
	switch {
	case err != nil:
		return nil, unavailable(ReasonSessionsDown)
	case found.refused != "":
		return nil, refuse(found.refused)
	}
	id.AuthType, id.Verified = AuthAPIKey, true
	if looksLikeToken(token) {
		id.AuthType = AuthJWT
	}
	id.ID, id.Email, id.Name = clean(found.ID, maxID), email(found.Email), clean(found.Name, maxName)
	id.Roles, id.Groups = []string{clean(found.Role, maxGroup)}, found.groups
	i.person(id, sourceSessions)
	i.ignored(r, &i.sessions.flow)
	return id, nil
}
