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
// them in memory. A name is exact, but for an email, which is in lower case.
//
// Whoever is new to this process, or has not come for a minute, is asked for as soon
// as it is known who they are, while the rest of their request is read; a decision
// waits for that, for 100 ms at most, and so has what is set from the first request
// on. Of the callers of the last minute, and of what is set for anybody, a tick reads
// all anew every 500 ms, and their decisions wait for nobody. So what is written holds
// within a second in every process, without a word between them and without anything
// that a plain Redis does not have.
//
// At the start, and 30 s after it was through, a process walks through all names, in
// small steps. That is no part of the promise, and may fail: it finds what can't be
// read before its caller comes, and names under which nobody is looked for.
//
// What can't be read changes nothing: the last good limits hold, also while the source
// is away, or that node of a cluster. Then nobody waits for it, until a tick finds it
// well again and reads what is set for all who came meanwhile.
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
