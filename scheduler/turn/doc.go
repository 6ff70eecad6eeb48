// Package turn decides whose turn it is, and where: it joins the fair queue (who is
// next), the capacity of the backends (what fits) and what was learned from
// finished requests (what one will cost). The dispatcher asks it about real
// requests, the simulator about imagined ones; the answers come from the same code.
//
// It is pure: no clock, no goroutine, no I/O. Time is an argument, and two
// questions that only its owner can answer are hooks: whether somebody can call a
// backend now, and what a request went through before ([Config]).
//
// # The order of calls
//
//	Push ──→ Next ──→ FirstToken, Progress … ──→ Settle, Learn
//	  │        ↑            │
//	  │        └── Requeue ←┤ no backend served it
//	  └──→ Remove ←─────────┘
//
// [Decider.Next] takes the slot and the memory of whom it names and charges its
// flow, so that the next question finds the world as it is then. What it hands out
// is a [Run], which its owner keeps until the request ends.
//
// # What is expected of a request
//
//   - Its output is E = min(max(the user's mean, ½ of the class's mean), max_tokens),
//     of one sequence. Who is new costs what its class does, a class that is new
//     what the pool does, and at first all cost 256 tokens.
//   - An answer that broke off, as its client left or its backend died, would have
//     become at least as long as what was seen of it. It raises the means that are
//     below that, and lowers none.
//   - The cached part of its prompt is the mean of its user in its prefix group, 0
//     where the backend does not report it.
//   - An answer that does not stream shows nothing before its end; how far it is
//     follows from how long it runs ([Decider.Unseen]).
//
// Means weigh the last sixteen values or so. What a client promises in max_tokens
// bounds the estimate and never raises it.
//
// # How long a wait will be
//
// [Drain] is what is delivered a second, learned only while a head waits for capacity.
// It says how long a request will wait, and whether that is hopeless.
//
// # How loaded a pool is
//
// [Load] is a level from -10 to 10 that limits may follow. It is loaded above a high
// mark of the KV budget that is held, or of the time that a user waits for its turn; it
// is idle below both low marks while no head waits for capacity. The level rises by one for every 2 s that it is loaded
// without a break, and falls by one for every 10 s that it is idle without a break;
// between the marks it stays. So it never moves both ways while things stay as they
// are, what flickers around a mark moves nothing, and a pool that is more loaded at all
// times never has the lower level.
//
// Limits that follow the load change what comes, and so the load: the band between the
// marks and the slow way down are there that this loop does not swing.
//
// # What runs tells of what waits
//
// A mean knows nothing of what somebody has just begun to ask for. A request in flight
// that has made g tokens of E expected ones, g > E, is expected to make 1.5·g,
// at most its max_tokens. By as much as a user's requests in flight cost more than was
// expected, so do those of the user that wait ([Decider.Outlook]), and no slot is
// expected to become free before the first in flight is over ([Decider.Foresee]). Early
// refusals reckon with the same figures. Charges do not: they follow what was made.
//
// # Headroom
//
// A class may keep slots free for itself. Who is refused because of that keeps
// its place, and others are asked. Less than half of what there is can be kept, so
// that a backend that is filled anew is not kept empty.
//
// What it costs is what the slots that are kept would have added, so it is less the
// more its class runs itself. Beside a flood, 64 slots of an emulated H100, at 64
// sequences a step takes 10.9 ms, of which 7.05 ms are the same for any number, so a
// slot adds 0.65 of its part. Somebody who asks twice in three seconds and has a
// headroom of 2 waits for 2 ms at the median instead of 32, and 0.6 % of the tokens are
// lost; at half of that, 1.16 slots are kept on average, the median is 0, and 1.13 % are
// lost. (Medians of five seeds of loadtest/workloads/light-beside-backlog.yaml and
// light-with-headroom.yaml, the second with half of the rate.)
package turn
