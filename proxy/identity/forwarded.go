package identity

import (
	"net/http"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"fairlane/scheduler"
)

// openWebUISigned is the header in which Open WebUI signs its user's identity. Open
// mode reads it by this name, for there no issuer is configured.
const openWebUISigned = "X-Openwebui-User-Jwt"

// certified reports whether r came with a client certificate that the server has
// verified, which is worth a forwarder's key.
func certified(r *http.Request) bool { return r.TLS != nil && len(r.TLS.VerifiedChains) > 0 }

// value is a forwarded header, without its placeholder.
func value(r *http.Request, header string) string {
	values := r.Header[header]
	if len(values) == 0 || template(values[0]) {
		return ""
	}
	return values[0]
}

// forwarded believes a forwarder about who sits behind it.
func (i *Identifier) forwarded(id *Identity, r *http.Request, via *flow) (*Identity, *scheduler.Problem) {
	if p := i.sentTwice(r); p != nil {
		return nil, p
	}
	id.Forwarder, id.Verified, id.AuthType = true, true, AuthForwarded
	known := i.plain(id, r)
	if !known {
		id.Nobody = true
		id.UserKey = "key:" + via.name
		id.Name = via.name
	}
	i.extras(id, r, via)
	i.arrived(r, via, known)
	return id, nil
}

// plain reads the person from the plain headers. False: they name nobody.
func (i *Identifier) plain(id *Identity, r *http.Request) bool {
	user := clean(value(r, i.headers.User), maxID)
	mail := email(value(r, i.headers.Email))
	if user == "" && mail == "" {
		return false
	}
	id.ID, id.Email = user, mail
	id.Name = clean(unquote(value(r, i.headers.Name)), maxName)
	id.Roles, id.Groups = nil, nil // those of the key are for who is nobody
	if role := clean(value(r, i.headers.Role), maxGroup); role != "" {
		id.Roles = []string{role}
	}
	i.name(id, "forwarded")
	return true
}

// extras are the headers that only a forwarder is believed and that do not say who
// it is.
func (i *Identifier) extras(id *Identity, r *http.Request, via *flow) {
	id.Groups = i.groups(r, id.Groups)
	id.Task = taskName(value(r, i.headers.Task))
	id.TaskTold = len(r.Header[i.headers.Task]) > 0 && !template(r.Header[i.headers.Task][0])
	id.MessageID = clean(value(r, i.headers.Message), maxID)
	id.ChatID = clean(value(r, i.headers.Chat), maxID)
	switch kind := AuthType(strings.ToLower(strings.TrimSpace(value(r, i.headers.AuthType)))); kind {
	case AuthJWT, AuthAPIKey:
		id.AuthType = kind
	default:
	}
	via.unfilled.Store(template(first(r, i.headers.Groups)) || template(first(r, i.headers.GroupIDs)))
}

func first(r *http.Request, header string) string {
	if values := r.Header[header]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// groups adds names and ids to what the token said. Names are joined by bare
// commas, which they may hold themselves: so the whole value is a name, too.
func (i *Identifier) groups(r *http.Request, groups []string) []string {
	names := value(r, i.headers.Groups)
	ids := value(r, i.headers.GroupIDs)
	if names == "" && ids == "" {
		return groups
	}
	out := append(make([]string, 0, len(groups)+strings.Count(names, ",")+strings.Count(ids, ",")+3), groups...)
	out = appendGroups(out, names)
	if strings.Contains(names, ",") {
		out = appendGroup(out, names)
	}
	return appendGroups(out, ids)
}

func appendGroups(out []string, joined string) []string {
	for part := range strings.SplitSeq(joined, ",") {
		out = appendGroup(out, part)
	}
	return out
}

func appendGroup(out []string, name string) []string {
	if name = clean(unquote(name), maxGroup); name == "" || len(out) >= maxList {
		return out
	}
	return append(out, name)
}

// taskName is a task's name as rules write it, or empty.
func taskName(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	if len(s) > maxTask {
		return ""
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' && r != '-' {
			return ""
		}
	}
	return s
}

// onTrust is open mode: who says that they are somebody is believed, and who says
// nothing is known by address, whatever other headers they send, for anybody can send
// an empty one.
func (i *Identifier) onTrust(id *Identity, r *http.Request) (*Identity, *scheduler.Problem) {
	if p := i.sentTwice(r); p != nil {
		return nil, p
	}
	known := i.unverified(id, first(r, openWebUISigned)) || i.plain(id, r)
	if !known {
		i.arrived(r, &i.trust, false)
		return i.byAddress(id, r)
	}
	id.Forwarder, id.AuthType = true, AuthForwarded
	i.extras(id, r, &i.trust)
	i.arrived(r, &i.trust, true)
	return id, nil
}

// sentTwice is a request in which a header that is believed stands more than once: a
// client of the forwarder may have added one, and which of them is its own nobody can
// tell.
func (i *Identifier) sentTwice(r *http.Request) *scheduler.Problem {
	for _, header := range i.believed {
		if len(r.Header[header]) > 1 {
			return scheduler.Problemf(scheduler.CodeInvalidRequest, "the header %s is there twice: send it once", header)
		}
	}
	return nil
}

// unverified reads Open WebUI's token without asking who signed it. False: it
// says nothing.
func (i *Identifier) unverified(id *Identity, token string) bool {
	if token == "" || len(token) > maxCredential {
		return false
	}
	c := jwt.MapClaims{}
	if _, _, err := jwt.NewParser(jwt.WithJSONNumber()).ParseUnverified(token, c); err != nil {
		return false
	}
	said := claims(c)
	id.ID, id.Email = clean(said.text("sub"), maxID), email(said.text("email"))
	if id.ID == "" && id.Email == "" {
		return false
	}
	id.Name = clean(said.text("name"), maxName)
	id.Roles = said.list("role")
	i.name(id, "forwarded")
	return true
}
