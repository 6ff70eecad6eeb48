// Package simulate answers "what if": it plays a workload against a configuration
// on virtual time. Who is next and where is decided by the code that decides it in
// the running system (scheduler/turn, with the fair queue and the capacity in it,
// and the rules of proxy/policy); how long it takes is said by scheduler/gpumodel.
// It has no clock and no goroutine, and the same seed gives the same figures.
//
// # Time
//
// A run is a sequence of events: a request arrives, a step of an engine ends, a
// quarter of a second is over (answers in flight are charged for what they
// generated), a second is over (the backend's metrics are seen). After each,
// whoever fits starts. Steps in which nothing happens but one more token for each
// sequence are done at once, up to the next event.
//
// # Policies
//
// A [Policy] other than fair exists here only. Each is the same queue with other
// places and other charges ([fairlane/scheduler/turn.Manner]), and all of them ask
// the same capacity:
//
//   - fcfs: one line for all.
//   - strict: one line, the heavier class first.
//   - rr: classes take turns, a line each.
//   - wfq: fairlane's tree, in which each request costs the same.
//   - vtc: a counter for each user by its weight (class × own), charged the prompt
//     at dispatch and the output as it comes, with nothing reserved, as in Sheng et
//     al., "Fairness in Serving Large Language Models", OSDI'24. Who comes back is
//     lifted as ours are, which differs from theirs by a mean request at most.
//
// Without fair, max_running bounds nothing, for a line has no users.
//
// # What is measured
//
// After the warm-up, what was delivered in a second is divided among those who had
// something waiting all of it, by weight, level by level; whoever had not keeps
// what it got, for it asked for no more. That is what they were entitled to (tiers
// apart). The share error is taken over those who waited in 99 of 100 seconds;
// others are judged by their waits. A wait
// is from the arrival to the grant. Jain's index is that of delivered over
// entitled, and the gap is how far the user furthest from what it was entitled to
// is away from it, in tokens of cost.
//
// # What is left out
//
// The network, the edge's rate limits, faults, clients that hang up.
package simulate
