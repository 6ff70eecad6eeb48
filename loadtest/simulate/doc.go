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
// fcfs, strict and rr know no users: what somebody may not have in flight yet is kept
// out of their line until some of it has ended, and enters it at its place by arrival.
// Tiers are known to fair and wfq only.
//
// # Who is refused
//
// Under a configuration the rules decide on every request, as at the edge: on its size,
// on sequences, and on the buckets it draws from, which are those of proxy/limit on
// virtual time, with tokens reserved by what the user's answers usually are and settled
// at the end, and with limits that follow the load. Then come the bounds on what waits,
// of a user and of a class. Under fair, who can't be expected to start in time is
// refused at once, and classes with codel shed (scheduler/turn.Drain, Patience).
//
// Who works at its own pace and was refused asks again when it was told to, at the
// earliest after a second; who asks at a rate does not repeat itself. With a patience
// somebody who has seen no first token hangs up: what waits leaves the queue, and what
// runs leaves the engine and pays for its whole prompt. Who was refused when it was
// recorded asks for an answer as long as its user's are.
//
// # What is measured
//
// After the warm-up, what was delivered in a second is divided among those who had
// something waiting all of it, by weight, level by level; whoever had not keeps
// what it got, for it asked for no more. That is what they were entitled to. Tiers are
// levels above the classes: of what a tier and those below it get, these are entitled
// to the floor while both have something waiting. The share error is taken over those who
// waited in 99 of 100 seconds; others are judged by their waits. A wait
// is from the arrival to the grant. Jain's index is that of delivered over
// entitled, and the gap is how far the user furthest from what it was entitled to
// is away from it, in tokens of cost.
//
// # Seeds
//
// One seed is one day of many that could have been. [Repeat] plays several: each figure
// is the median, with the least and the most that was seen. Between two runs a change is
// told if all that was seen of the one lies beyond all of the other. Of n seeds each
// that happens by chance to a figure with odds of 2 in (2n over n): 1 in 10 with three
// seeds, 1 in 126 with five.
//
// # What is left out
//
// The network, faults, and the refusal of a head that fits nowhere for minutes. One
// process keeps the buckets.
package simulate
