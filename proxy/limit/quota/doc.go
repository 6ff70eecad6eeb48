// Package quota is the limits of single callers that an administrator changes
// while everything runs: overrides, which beat every rule of the policy.
//
//	rate_limit:user:<id or email>        of a person's requests
//	rate_limit:user:<id or email>:heavy  of their requests of one size: light, medium, heavy
//	rate_limit:key:<id>                  of what comes with an API key
//	rate_limit:group:<name or id>        of each member of a group
//	rate_limit:role:<role>               of each who has a role
//
// The first of these that there is counts; of several groups, or roles, the most
// generous one, by the smallest N/period of each. The value is limits as [limit.Parse]
// reads them. The key may expire, and then is gone.
//
// # Where they are
//
// A [Source]: keys of exactly these names in Redis ([Redis]), so that redis-cli
// sets them, or the store of the queue ([KV]). A [Book] keeps what it has read of
// them in memory. Every 500 ms it reads anew what concerns the callers of the last
// minute and what it knows already; every 30 s, and at its start, all. A decision
// only looks into the book and waits for nobody. What can't be read changes
// nothing: the last good limits hold, also while the source is away.
//
// # What they replace
//
// The limits of the bucket, not its level: who has used 20 of 30 a minute and gets
// 60 keeps the time that the 20 take to flow back. A bucket that many share becomes
// the caller's own. In the buckets of what nobody waits for, background tasks and
// embeddings, an override counts only where it is the tighter one, and as much may
// come at once as before: it can slow a script down, and a document is still read
// whole. An override follows no load, whatever the rule says that it replaces.
package quota
