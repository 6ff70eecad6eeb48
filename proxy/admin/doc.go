// Package admin is the port for those who run fairlane: /metrics, pprof and the
// admin API. It is never the edge: people's requests do not come here.
//
// Without tokens it answers on loopback only, and only to requests that name a
// loopback host, so that a page in the administrator's browser can't reach it
// under a name of its own (DNS rebinding). With tokens every path but /healthz
// asks for one, as a bearer. A viewer may look; an operator may also change and
// profile, for a profile costs the process something.
//
// At / is a page for people: pools, classes, backends, warnings, who was refused most.
// A browser asks for a token there, as a password; nothing on the page orders anything.
//
//	GET /                the page, anew every five seconds
//	GET /api/v1/status   what runs here: roles, pools, backends, identity findings
//	GET /api/v1/refusals?n=20   who was refused most in the last hour, in all processes
//	GET /api/v1/quotas   limits that are set for single callers; with ?of= what is in force for one
//	PUT, DELETE          set or unset one, for operators: {"name": "user:alice", "limits": "200/minute", "for": "2h"}
//	GET /api/v1/audit    who changed which of them, and from what to what
//	/debug/pprof/        Go's profiles, for operators
//
// Why requests waited is for operators, too, because it says who asked when:
//
//	GET /api/v1/receipts/{id}   of a request, by the id that its client was told
//	GET /api/v1/receipts?user=&last=1h&limit=20   of a person, or by chat=, or by id=
package admin
