// Package capacity says what fits on the backends of one pool: how many
// sequences, how much KV, how much prefill, and whether a backend is to be
// trusted with work at all. It is pure: time is an argument, nothing waits, and
// one goroutine owns a [Pool] with all that belongs to it.
//
// A request asks with [Pool.Fit], goes with [Backend.Take], and gives everything
// back with [Hold.Release]. Slots are returned; nothing here is spent.
//
// # Slots
//
// They are counted in sequences: one request with n = 4 takes four. A backend
// that runs nothing admits any request that can ever fit, even above its cap, so
// that nothing waits for ever. Configured slots are fixed. Learned ones start at
// 8. vLLM does not tell its max_num_seqs, but shows it: while a head waits for a
// slot, or finds those that are free kept for others ([Pool.Refused]), and the
// backend's own queue is empty, each completion adds one, up to 256;
// if something waits there in two samples in a row although the KV cache has room
// (usage < 0.9), the slots are what runs. Beyond such a ceiling at most one is
// added for each sample, so that the effect of a step is seen before the next.
// A backend without metrics stays at 8, and metrics older than 3 s change
// nothing: a queue that can't be seen is not taken for empty. Metrics that repeat
// themselves to the last figure while something of ours runs are old as well.
//
// With a target for the time between tokens ([Config] ITL) slots are also taken
// back to 0.95 of what runs while the median of 32 measurements is over it, and
// given back one for each service time while it is not and all are in use.
//
// # Which backend
//
// Of those on which a request fits, and which have not just failed it: the one
// that had its conversation last, for its cache holds the history; then one where
// its prefix group runs; then the least KV held. The last backends of some 100,000
// conversations are remembered; [Config] Anywhere looks at the KV alone. A head
// that fits, but not on its [Pool.Home], may yield to one near it that would be at
// home: see fairqueue.
//
// # KV
//
//	KVcap    = the smaller of what is configured and what the backend tells
//	budget   = β·KVcap
//	blocks(x) = x rounded up to whole KV blocks
//	est(r)   = sequences·(blocks(prompt − S) + blocks(generated + ½·max(E − generated, ¼·E)))
//	held     = ρ·(Σ est + Σ S over the prefix groups that run)
//	fits     ⇔ held + ρ·(est + S if its group does not run there) ≤ budget
//
// where prompt, generated and E, the expected output, are those of one sequence.
// On average over the rest of its life a sequence holds half of what it will
// still add; one that outgrew E is taken to go on by a quarter of it.
//
// A prefix group is all that begins with the same tools and system message. What
// its members share is in the cache once while any of them runs, so it is counted
// once. S is learned as the least that a member found cached: it falls at once
// and rises by 1/64 of the difference, for one long history of one user is not
// what all share. While a group runs on a backend its S is fixed there, so that
// the sums stay exact. All sums are integers; ρ is applied when they are read.
//
// ρ corrects for rounding and for other people's traffic: an average of
// usage·KVcap over what we count as prefilled, in [0.5, 2], from samples in which
// that is at least 1 % of the cache.
//
// β is in [0.5, 1.1], 0.85 at first, and moves when a sample comes, once a second:
//
//	×0.96   if usage > 0.9 and preemptions grew, or more than 2 waited there twice in a row
//	+0.002  if a head lacked KV there within the last second, nothing waits there and usage < 0.95
//
// and not within one service time after a cut, in which what was admitted before
// still runs. A head that lacks slots moves nothing: what can't be used shows
// nothing, and a β that rises for it fills the engine's own queue later. Without
// samples β stays as it is; one that comes after 3 s of silence, and a counter
// that jumped back, are a new beginning. [Config] Fixed leaves β at 0.85.
//
// A request can never fit if the prompt of one of its sequences exceeds every
// KVcap, or their number the largest configured slots. Both are fixed values: no
// estimate of ours refuses for ever, while one KVcap is unknown none is exceeded,
// and what a backend can serve one after the other (prompts of several sequences,
// inputs of embeddings) is not added up.
//
// # The blocked head
//
// Plain backfill starves long contexts; a plain hold makes light users wait ten
// times longer. So: hold, with slack = 0.1·budget.
//
//   - A request with est > ½·slack is large. Large ones together hold at most
//     budget − slack.
//   - A head without KV reserves the backend that is expected to be free first:
//     the part of what runs there that has to end, times the output that one of
//     its sequences has left. It keeps it while it stays blocked; a choice that
//     wavers between two backends would drain neither.
//   - There only small requests pass, those that passed hold at most the slack
//     together, and they leave the head's slots free. The other backends go on.
//   - A head that lacks a slot lets nothing pass.
//
// So the head is served: nothing is admitted beside those that passed, what else
// runs ends, and then held ≤ slack ≤ budget − est. A head for which that is not
// enough (est > budget − slack, more sequences than slots, a crash suspect) needs
// the backend idle, and then nothing passes there.
//
// # Prefill
//
// A prompt of 60,000 tokens delays everybody's next token. The uncached input of
// ours without a first token is at most one second of the measured rate; one
// request always passes. The rate is measured on streams: prefills are served in
// order, so the time to a first token is that of all that was pending when the
// stream was sent, its own input included. Below 1,024 tokens that time tells of
// overhead; the rate starts at 8,192 tokens a second and is never taken below
// 2,048, the smallest token budget of vLLM's step. A request that does not stream
// leaves the gate when its prefill is expected to be over.
//
// # Health
//
//	not seen ──Up──→ up ──Down──→ down ──Up──→ up, filled step by step
//	up ──5 faults in a row──→ open (1 s, doubling to 30 s) ──→ one probe
//	       Success, Answered → up, filled step by step; Fault of a probe → open again
//	up ──Busy──→ nothing for 5 ms, doubling to 200 ms, reset by Success
//
// A backend that returns gets two sequences; each first token adds one, each
// completion doubles what is allowed, until it is all. Progress is measured in
// what the backend achieved, not in time. First tokens count because completions
// alone would leave a GPU with long answers idle for minutes.
//
// What was sent before a breaker opened or a back-off began says nothing new when
// it fails: it does not double anything. A crash suspect runs alone.
//
// An error that a backend answers is no fault ([Backend.Answered]): one that is
// alive is not taken from everybody because of the requests of one. For the same
// reason a request that has faulted probes only when nobody else did for as long
// as the breaker was open.
//
// Spans of time are kept with their beginning: a clock that steps back opens what
// was shut, it never prolongs it.
//
// # Sources
//
// Preemption, block and batch arithmetic: Kwon et al., "Efficient Memory
// Management for Large Language Model Serving with PagedAttention", SOSP'23.
// Why a bounded backfill behind a reservation does not starve: Mu'alem and
// Feitelson, "Utilization, Predictability, Workloads, and User Runtime Estimates
// in Scheduling the IBM SP2 with Backfilling", TPDS'01. The breaker: Nygard,
// "Release It!", 2007.
package capacity
